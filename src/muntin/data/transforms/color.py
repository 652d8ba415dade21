"""Colour jitter of the papers' training recipes."""

from __future__ import annotations

import numpy as np
from PIL import Image

from muntin.data.transforms.vision import functional


def color_jitter(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Brightness, contrast and saturation, in random order, each times its own factor from [1 - s, 1 + s], uniform.

    torchvision's ColorJitter(s, s, s), but for where the draws come from.
    """
    F = functional()
    changes = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
    for change in rng.permutation(3).tolist():
        image = changes[change](image, rng.uniform(1 - strength, 1 + strength))
    return image
