"""RandAugment (Cubuk et al., 2019, arXiv:1909.13719) as the Swin, DeiT and ConvNeXt recipes use it.

Theirs is timm 0.3.2's `rand-m9-mstd0.5-inc1`, which differs from the paper: 15 operations, "increasing" variants (a
larger magnitude always changes more), each drawn operation applied with probability 0.5, a magnitude drawn from a
normal distribution for each operation. torchvision's class of the same name follows the paper, so only its operations
are used.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from muntin.data.sources.source import Sample
from muntin.data.transforms.affine import about_the_centre
from muntin.data.transforms.transform import changed, moved, warped
from muntin.data.transforms.vision import functional

Fill = int | tuple[int, ...]


class RandAugment:
    """Applies each of `ops` operations, drawn with replacement, with probability 0.5.

    magnitude: mean, 0 to 10; each operation's own is drawn from N(magnitude, std) and clipped to [0, 10].
    mean: the channels' means (0 to 1), which fill what rotations, shears and shifts leave empty.
    """

    def __init__(self, magnitude: float, std: float, ops: int, mean: Sequence[float], resampling: Image.Resampling):
        self.magnitude, self.std, self.ops, self.resampling = magnitude, std, ops, resampling
        fill = tuple(min(255, round(255 * value)) for value in mean)
        self.fill: Fill = fill if len(fill) > 1 else fill[0]

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        for name in rng.choice(OPERATIONS, self.ops):
            if rng.random() < 0.5:
                magnitude = min(max(rng.normal(self.magnitude, self.std), 0.0), 10.0)
                sign = 1 if rng.random() < 0.5 else -1
                sample = apply(sample, str(name), magnitude / 10, sign, self.fill, self.resampling)
        return sample


OPERATIONS = (
    *("AutoContrast", "Equalize", "Invert", "Rotate", "Posterize", "Solarize", "SolarizeAdd"),
    *("Color", "Contrast", "Brightness", "Sharpness", "ShearX", "ShearY", "TranslateX", "TranslateY"),
)


def apply(sample: Sample, name: str, level: float, sign: int, fill: Fill, resampling: Image.Resampling) -> Sample:
    """One operation of `OPERATIONS` at a level of 0 to 1; `sign` is its direction where it has two.

    Shears and shifts are about the corner, not about torchvision's centre.
    """
    image: Image.Image = sample.inputs["image"]
    match name:
        case "Rotate":
            angle = sign * 30 * level
            turned = functional().rotate(image, angle, interpolation=resampling, fill=fill)
            return moved(sample, turned, about_the_centre(image.size, -angle, (0.0, 0.0), 1.0, 0.0))
        case "ShearX":
            return warped(sample, (1, sign * 0.3 * level, 0, 0, 1, 0), resampling, fill)
        case "ShearY":
            return warped(sample, (1, 0, 0, sign * 0.3 * level, 1, 0), resampling, fill)
        case "TranslateX":
            return warped(sample, (1, 0, sign * 0.45 * level * image.width, 0, 1, 0), resampling, fill)
        case "TranslateY":
            return warped(sample, (1, 0, 0, 0, 1, sign * 0.45 * level * image.height), resampling, fill)
    return changed(sample, recoloured(image, name, level, sign))


def recoloured(image: Image.Image, name: str, level: float, sign: int) -> Image.Image:
    """One of the operations that leave every pixel where it is."""
    F = functional()
    match name:
        case "AutoContrast":
            return F.autocontrast(image)
        case "Equalize":
            return F.equalize(image)
        case "Invert":
            return F.invert(image)
        case "Posterize":
            return _posterize(image, 4 - int(4 * level))
        case "Solarize":
            return F.solarize(image, 256 - int(256 * level))
        case "SolarizeAdd":
            return _solarize_add(image, int(110 * level))
        case "Color":
            return F.adjust_saturation(image, 1 + sign * 0.9 * level)
        case "Contrast":
            return F.adjust_contrast(image, 1 + sign * 0.9 * level)
        case "Brightness":
            return F.adjust_brightness(image, 1 + sign * 0.9 * level)
        case "Sharpness":
            return F.adjust_sharpness(image, 1 + sign * 0.9 * level)
    raise ValueError(f"unknown operation {name}; known: {', '.join(OPERATIONS)}")


def _posterize(image: Image.Image, bits: int) -> Image.Image:
    """Keep the upper bits. At magnitude 10 none are left: this gives a black picture, which Pillow would refuse."""
    return image.point([value & ~(2 ** (8 - bits) - 1) for value in range(256)] * len(image.getbands()))


def _solarize_add(image: Image.Image, amount: int) -> Image.Image:
    """Brighten what is darker than 128."""
    values = [min(255, value + amount) if value < 128 else value for value in range(256)]
    return image.point(values * len(image.getbands()))
