"""Random crops of the papers' training recipes."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from muntin.data.transforms.vision import functional


def random_resized_crop(
    image: Image.Image,
    size: tuple[int, int],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    resampling: Image.Resampling,
    rng: np.random.Generator,
) -> Image.Image:
    """A random part of the picture, resized to `size` (height, width): Inception's crop.

    `scale`: area as a share of the picture, uniform. `ratio`: width / height relative to that of `size`, log-uniform;
    so a square size has the published behaviour and another one is distorted no more than a square would be.
    """
    top, left, height, width = crop_box(image.size[::-1], size[1] / size[0], scale, ratio, rng)
    return functional().resized_crop(image, top, left, height, width, list(size), resampling, antialias=True)


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


def random_padded_crop(image: Image.Image, pad: int, rng: np.random.Generator) -> Image.Image:
    """The picture shifted by up to `pad` pixels along each axis, black where it has left."""
    top, left = rng.integers(2 * pad + 1, size=2).tolist()
    # A crop that reaches outside is filled with black: padding and cropping in one
    return image.crop((left - pad, top - pad, left - pad + image.width, top - pad + image.height))


def random_reflected_crop(image: Image.Image, size: tuple[int, int], pad: int, rng: np.random.Generator) -> Image.Image:
    """A random part of `size` (height, width) of the picture mirrored by `pad` pixels at its border: DeiT III's "simple
    random crop", for a picture that just covers `size`.
    """
    height, width = size
    top = int(rng.integers(image.height + 2 * pad - height + 1))
    left = int(rng.integers(image.width + 2 * pad - width + 1))
    padded = functional().pad(image, pad, padding_mode="reflect")
    return padded.crop((left, top, left + width, top + height))
