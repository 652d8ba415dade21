"""3-Augment, the augmentation of DeiT III (Touvron et al., 2022, arXiv:2204.07118, sec. 4)."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from muntin.data.sources.source import Sample
from muntin.data.transforms.transform import changed
from muntin.data.transforms.vision import functional

BLUR = (0.1, 2.0)  # standard deviation in pixels, least and most
SOLARIZE = 128  # values from here on are inverted


def three_augment(sample: Sample, rng: np.random.Generator) -> Sample:
    """Greyscale, solarisation or Gaussian blur: exactly one of them, each as likely.

    The blur is Pillow's, as in the official code (augment.py); torchvision's needs a kernel size and gives other
    numbers.
    """
    image: Image.Image = sample.inputs["image"]
    match rng.integers(3):
        case 0:
            image = image.convert("L").convert(image.mode)
        case 1:
            image = functional().solarize(image, SOLARIZE)
        case _:
            image = image.filter(ImageFilter.GaussianBlur(rng.uniform(*BLUR)))
    return changed(sample, image)
