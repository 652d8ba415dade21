"""Which patches SimMIM hides (Xie et al., 2021, arXiv:2111.09886, sec. 3.2)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from muntin.data import Sample
from muntin.errors import UserError, sides


class MaskGenerator:
    """Hides ceil(ratio * cells) of the cells of `mask_patch` pixels, drawn at random.

    image_size: (H, W), or (T, H, W) of clips. model_patch: pixels per token of the model. One number stands for every
    axis. Raises `UserError` if the cells do not divide the picture, or the tokens the cells.
    """

    def __init__(
        self,
        image_size: int | tuple[int, ...],
        mask_patch: int | tuple[int, ...] = 32,
        model_patch: int | tuple[int, ...] = 4,
        ratio: float = 0.6,
    ):
        axes = max((len(size) for size in (image_size, mask_patch, model_patch) if isinstance(size, tuple)), default=2)
        size, cell, token = (s if isinstance(s, tuple) else (s,) * axes for s in (image_size, mask_patch, model_patch))
        if min(*cell, *token) < 1 or any(c % t for c, t in zip(cell, token)):
            raise UserError(
                f"mask patches of {sides(cell)} pixels are no whole number of model patches ({sides(token)})"
            )
        if any(s % c for s, c in zip(size, cell)):
            whole = " x ".join(map(str, size))
            raise UserError(f"mask patches of {sides(cell)} pixels do not divide pictures of {whole}; change either")
        if not 0 < ratio <= 1:
            raise UserError(f"the share of masked patches is {ratio}; it must be above 0, to 1")
        self.image_size, self.cell, self.ratio = size, cell, ratio
        self.cells = tuple(s // c for s, c in zip(size, cell))
        self.times = tuple(c // t for c, t in zip(cell, token))  # tokens a cell

    def __call__(self, rng: np.random.Generator | np.random.RandomState) -> Tensor:
        """int64 (*image_size / model_patch); 1 = masked. Draws one permutation, as the official code does."""
        count = math.prod(self.cells)
        mask = np.zeros(count, np.int64)
        mask[rng.permutation(count)[: math.ceil(count * self.ratio)]] = 1
        mask = mask.reshape(self.cells)
        for axis, times in enumerate(self.times):
            mask = mask.repeat(times, axis=axis)
        return torch.from_numpy(mask)

    def prepare(self, sample: Sample, rng: np.random.Generator, training: bool) -> Sample:
        """A task's `prepare`: adds inputs["mask"], drawn in training and in evaluation."""
        return sample._replace(inputs=sample.inputs | {"mask": self(rng)})
