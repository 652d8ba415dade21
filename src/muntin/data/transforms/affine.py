"""Small random affine changes, for pictures that RandAugment would spoil, such as digits."""

from __future__ import annotations

import numpy as np
from PIL import Image

from muntin.data.transforms.vision import functional


def random_affine(
    image: Image.Image,
    *,
    rotate: float,
    translate: float,
    zoom: tuple[float, float],
    shear: float,
    resampling: Image.Resampling,
    rng: np.random.Generator,
) -> Image.Image:
    """Rotate and shear (degrees), shift (share of the side) and zoom about the centre, each uniform; the rest black."""
    angle, right, down, slant = (rng.random(4) * 2 - 1).tolist()
    shift = [right * translate * image.width, down * translate * image.height]
    enlarge = zoom[0] + (zoom[1] - zoom[0]) * rng.random()
    return functional().affine(image, angle * rotate, shift, enlarge, [slant * shear, 0.0], interpolation=resampling)
