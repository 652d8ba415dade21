"""From a picture of any size to one of the model's size: what training and evaluation share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from muntin.data.decoding.picture import PIXEL_LIMIT
from muntin.data.sources.source import Sample
from muntin.data.transforms.transform import moved
from muntin.errors import UserError


@dataclass(frozen=True)
class Warp:
    """Resizes to `size` (height, width), ignoring the aspect. Pillow's resizing, antialiased."""

    size: tuple[int, int]
    resampling: Image.Resampling

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return resized(sample, self.size, self.resampling)


@dataclass(frozen=True)
class Cover:
    """Resizes, keeping the aspect, until the picture just covers `size` (height, width).

    Raises `UserError` for a picture so long that the result would have more than `PIXEL_LIMIT` pixels.
    """

    size: tuple[int, int]
    resampling: Image.Resampling

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        image: Image.Image = sample.inputs["image"]
        height, width = covering((image.height, image.width), *self.size)
        if height * width > PIXEL_LIMIT:
            raise UserError(f"a picture of {image.width} x {image.height} would become {width} x {height}: crop it")
        return resized(sample, (height, width), self.resampling)


@dataclass(frozen=True)
class CentreCrop:
    """Cuts `size` (height, width) out of the middle; what lies beyond the picture is black."""

    size: tuple[int, int]

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        image: Image.Image = sample.inputs["image"]
        height, width = self.size
        return cropped(sample, round((image.height - height) / 2), round((image.width - width) / 2), self.size)


def resized(sample: Sample, size: tuple[int, int], resampling: Image.Resampling) -> Sample:
    """The sample with its picture resized to `size` (height, width)."""
    image: Image.Image = sample.inputs["image"]
    height, width = size
    if image.size == (width, height):
        return sample
    step = (image.width / width, 0.0, 0.0, 0.0, image.height / height, 0.0)
    return moved(sample, image.resize((width, height), resampling), step)


def cropped(sample: Sample, top: int, left: int, size: tuple[int, int]) -> Sample:
    """The sample with the part of its picture that begins at (top, left); what lies beyond the picture is black."""
    image: Image.Image = sample.inputs["image"]
    height, width = size
    if (top, left, image.height, image.width) == (0, 0, height, width):
        return sample
    return moved(sample, image.crop((left, top, left + width, top + height)), (1.0, 0.0, left, 0.0, 1.0, top))


def covering(size: tuple[int, int], height: int, width: int) -> tuple[int, int]:
    """The smallest (height, width) with the aspect of `size` that covers height x width; rounded as by torchvision."""
    h, w = size
    if width * h >= height * w:
        return max(height, width * h // w), width
    return height, max(width, height * w // h)
