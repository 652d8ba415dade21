"""Random crops of the papers' training recipes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from muntin.data.sources.source import Sample
from muntin.data.transforms.resize import cropped
from muntin.data.transforms.transform import moved
from muntin.data.transforms.vision import functional


@dataclass(frozen=True)
class RandomResizedCrop:
    """A random part of the picture, resized to `size` (height, width): Inception's crop.

    `scale`: area as a share of the picture, uniform. `ratio`: width / height relative to that of `size`, log-uniform;
    so a square size has the published behaviour and another one is distorted no more than a square would be.
    """

    size: tuple[int, int]
    scale: tuple[float, float]
    ratio: tuple[float, float]
    resampling: Image.Resampling

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        image: Image.Image = sample.inputs["image"]
        aspect = self.size[1] / self.size[0]
        top, left, height, width = crop_box((image.height, image.width), aspect, self.scale, self.ratio, rng)
        crop = functional().resized_crop(
            image, top, left, height, width, list(self.size), self.resampling, antialias=True
        )
        return moved(sample, crop, (width / crop.width, 0.0, left, 0.0, height / crop.height, top))


@dataclass(frozen=True)
class PaddedCrop:
    """Shifts the picture by up to `pad` pixels along each axis; the part that it leaves is black."""

    pad: int

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        image: Image.Image = sample.inputs["image"]
        top, left = rng.integers(2 * self.pad + 1, size=2).tolist()
        return cropped(sample, top - self.pad, left - self.pad, (image.height, image.width))


@dataclass(frozen=True)
class ReflectedCrop:
    """A random part of `size` (height, width) of the picture mirrored by `pad` pixels at its border: DeiT III's "simple
    random crop", for a picture that just covers `size`.
    """

    size: tuple[int, int]
    pad: int

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        image: Image.Image = sample.inputs["image"]
        (height, width), pad = self.size, self.pad
        top = int(rng.integers(image.height + 2 * pad - height + 1))
        left = int(rng.integers(image.width + 2 * pad - width + 1))
        padded = functional().pad(image, pad, padding_mode="reflect")
        step = (1.0, 0.0, left - pad, 0.0, 1.0, top - pad)
        return moved(sample, padded.crop((left, top, left + width, top + height)), step)


def crop_box(
    size: tuple[int, int],
    aspect: float,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    rng: np.random.Generator,
) -> tuple[int, int, int, int]:
    """Top, left, height, width: ten attempts, then the largest central part whose aspect is within the range."""
    H, W = size
    low, high = ratio[0] * aspect, ratio[1] * aspect
    for _ in range(10):
        area = H * W * rng.uniform(*scale)
        shape = math.exp(rng.uniform(math.log(low), math.log(high)))
        width, height = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < width <= W and 0 < height <= H:
            top, left = rng.integers(H - height + 1), rng.integers(W - width + 1)
            return int(top), int(left), height, width
    width, height = min(W, max(1, round(H * high))), min(H, max(1, round(W / low)))
    return (H - height) // 2, (W - width) // 2, height, width
