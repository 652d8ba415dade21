"""Which patches SimMIM hides (Xie et al., 2021, arXiv:2111.09886, sec. 3.2)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from muntin.data.sources.source import Sample
from muntin.errors import UserError


class MaskGenerator:
    """Hides ceil(ratio * cells) of the square cells of `mask_patch` pixels, drawn at random.

    image_size: height and width, or one number for both. model_patch: pixels per token of the model.
    Raises `UserError` where the cells do not divide the picture, or the tokens the cells.
    """

    def __init__(
        self, image_size: int | tuple[int, int], mask_patch: int = 32, model_patch: int = 4, ratio: float = 0.6
    ):
        H, W = (image_size, image_size) if isinstance(image_size, int) else image_size
        if min(mask_patch, model_patch) < 1 or mask_patch % model_patch:
            raise UserError(f"mask patches of {mask_patch} pixels are no whole number of model patches ({model_patch})")
        if H % mask_patch or W % mask_patch:
            raise UserError(f"mask patches of {mask_patch} pixels do not divide pictures of {H} x {W}; change either")
        if not 0 < ratio <= 1:
            raise UserError(f"the share of masked patches is {ratio}; it must be above 0, to 1")
        self.image_size, self.mask_patch, self.model_patch, self.ratio = (H, W), mask_patch, model_patch, ratio

    def __call__(self, rng: np.random.Generator | np.random.RandomState) -> Tensor:
        """int64 (H / model_patch, W / model_patch); 1 = masked. Draws one permutation, as the official code does."""
        rows, columns = (side // self.mask_patch for side in self.image_size)
        mask = np.zeros(rows * columns, np.int64)
        mask[rng.permutation(rows * columns)[: math.ceil(rows * columns * self.ratio)]] = 1
        times = self.mask_patch // self.model_patch
        return torch.from_numpy(mask.reshape(rows, columns).repeat(times, axis=0).repeat(times, axis=1))

    def prepare(self, sample: Sample, rng: np.random.Generator, training: bool) -> Sample:
        """A task's `prepare`: adds inputs["mask"], drawn in training and in evaluation alike."""
        return sample._replace(inputs=sample.inputs | {"mask": self(rng)})
