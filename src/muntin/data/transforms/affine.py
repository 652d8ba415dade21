"""Small random affine changes, for pictures that RandAugment would spoil, such as digits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from muntin.data.sources.place import Affine
from muntin.data.sources.source import Sample
from muntin.data.transforms.transform import warped


@dataclass(frozen=True, kw_only=True)
class RandomAffine:
    """Rotates and shears (degrees), shifts (share of the side) and zooms about the centre, each uniform; the rest is
    black.
    """

    rotate: float
    translate: float
    zoom: tuple[float, float]
    shear: float
    resampling: Image.Resampling

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        image: Image.Image = sample.inputs["image"]
        angle, right, down, slant = (rng.random(4) * 2 - 1).tolist()
        shift = (right * self.translate * image.width, down * self.translate * image.height)
        enlarge = self.zoom[0] + (self.zoom[1] - self.zoom[0]) * rng.random()
        step = about_the_centre(image.size, angle * self.rotate, shift, enlarge, slant * self.shear)
        return warped(sample, step, self.resampling)


def about_the_centre(
    size: tuple[int, int], angle: float, shift: tuple[float, float], enlarge: float, shear: float
) -> Affine:
    """The step of a picture of `size` (width, height) that is sheared, zoomed, rotated and then shifted (pixels).

    The arithmetic is torchvision's (functional.affine), operation by operation, so that not one pixel differs.
    """
    (centre_x, centre_y), (right, down) = (size[0] * 0.5, size[1] * 0.5), shift
    cos, sin, tan = math.cos(math.radians(angle)), math.sin(math.radians(angle)), math.tan(math.radians(shear))
    a, b, d, e = ((-sin * tan + cos) / enlarge, (cos * tan + sin) / enlarge, -sin / enlarge, cos / enlarge)
    c = a * (-centre_x - right) + b * (-centre_y - down) + centre_x
    f = d * (-centre_x - right) + e * (-centre_y - down) + centre_y
    return a, b, c, d, e, f
