"""From a picture to what a batch holds of it, in training and in evaluation."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from PIL import Image
from torch import Tensor

from muntin.data.transforms.affine import random_affine
from muntin.data.transforms.augment import Augment
from muntin.data.transforms.color import color_jitter
from muntin.data.transforms.crop import random_padded_crop, random_reflected_crop, random_resized_crop
from muntin.data.transforms.erasing import random_erasing
from muntin.data.transforms.inputs import RESAMPLING, Preprocess
from muntin.data.transforms.masking import MaskGenerator
from muntin.data.transforms.randaugment import RandAugment
from muntin.data.transforms.three_augment import three_augment
from muntin.data.transforms.vision import functional
from muntin.errors import UserError


class Transform(Protocol):
    """A picture -> named tensors, "image" (C, H, W) among them.

    All randomness comes from `rng`; without one a fresh generator is taken and the result cannot be repeated.
    """

    def __call__(self, image: Image.Image, rng: np.random.Generator | None = None) -> dict[str, Tensor]: ...


def eval_transform(preprocess: Preprocess) -> Transform:
    """Preprocessing alone: nothing is random."""
    return _Evaluation(preprocess)


def train_transform(preprocess: Preprocess, augment: Augment) -> Transform:
    """`augment`'s changes of single pictures, then normalisation, then erasing. Needs torchvision."""
    return _Training(preprocess, augment)


def mask_transform(preprocess: Preprocess, augment: Augment, masking: MaskGenerator) -> Transform:
    """`train_transform` and a "mask" (h, w), one for each picture, as SimMIM wants it."""
    if tuple(masking.image_size) != tuple(preprocess.image_size):
        raise UserError(f"masks are for pictures of {masking.image_size}, pictures are {preprocess.image_size}")
    return _Masking(train_transform(preprocess, augment), masking)


class _Evaluation:
    def __init__(self, preprocess: Preprocess):
        self.apply = preprocess.transform()

    def __call__(self, image: Image.Image, rng: np.random.Generator | None = None) -> dict[str, Tensor]:
        return {"image": self.apply(image)}


class _Training:
    def __init__(self, preprocess: Preprocess, augment: Augment):
        functional()  # a missing torchvision is said here, not by the first worker
        self.preprocess, self.augment = preprocess, augment
        self.resampling = RESAMPLING[preprocess.interpolation]
        self.crop = augment.crop
        if self.crop == "auto":
            self.crop = "padded" if max(preprocess.image_size) <= 32 else "resized"
        self.affine = bool(augment.rotate or augment.translate or augment.shear or augment.zoom != (1.0, 1.0))
        self.randaugment = RandAugment(
            augment.randaugment, augment.randaugment_std, augment.randaugment_ops, preprocess.mean, self.resampling
        )

    def __call__(self, image: Image.Image, rng: np.random.Generator | None = None) -> dict[str, Tensor]:
        rng = rng or np.random.default_rng()
        augment = self.augment
        image = self._cropped(self.preprocess.convert(image), rng)
        if augment.flip and rng.random() < augment.flip:
            image = functional().horizontal_flip(image)
        if self.affine:
            image = random_affine(
                image,
                rotate=augment.rotate,
                translate=augment.translate,
                zoom=augment.zoom,
                shear=augment.shear,
                resampling=self.resampling,
                rng=rng,
            )
        if augment.randaugment:
            image = self.randaugment(image, rng)
        if augment.three_augment:
            image = three_augment(image, rng)
        if augment.color_jitter and not augment.randaugment:  # timm's rule, which the published recipes rely on
            image = color_jitter(image, augment.color_jitter, rng)
        x = self.preprocess.to_tensor(image)
        if augment.erasing:
            x = random_erasing(x, augment.erasing, rng)
        return {"image": x}

    def _cropped(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        augment, size = self.augment, self.preprocess.image_size
        if self.crop == "simple":
            return random_reflected_crop(self.preprocess.cover(image, *size), size, augment.pad, rng)
        if self.crop == "resized":
            return random_resized_crop(image, size, augment.crop_scale, augment.crop_ratio, self.resampling, rng)
        image = self.preprocess.resize(image)
        return random_padded_crop(image, augment.pad, rng) if self.crop == "padded" else image


class _Masking:
    def __init__(self, picture: Transform, masking: MaskGenerator):
        self.picture, self.masking = picture, masking

    def __call__(self, image: Image.Image, rng: np.random.Generator | None = None) -> dict[str, Tensor]:
        rng = rng or np.random.default_rng()
        return self.picture(image, rng) | {"mask": self.masking(rng)}
