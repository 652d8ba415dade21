"""Turns a picture of any mode into the numbers that a model gets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from muntin.data.decoding.picture import as_mode
from muntin.data.sources.source import Sample
from muntin.data.transforms.transform import changed


@dataclass(frozen=True)
class InMode:
    """Converts a picture of any mode to 8-bit "L" or "RGB"."""

    mode: str

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return changed(sample, as_mode(sample.inputs["image"], self.mode))


@dataclass(frozen=True)
class Normalise:
    """Turns an 8-bit picture into a tensor, float32 (C, H, W): (x / 255 - mean) / std, one value a channel each.

    Each pixel is looked up among the 256 possible values, which costs a small picture less than three arithmetic calls.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return changed(sample, self.tensor(sample.inputs["image"]))

    def tensor(self, image: Image.Image) -> Tensor:
        pixels = np.asarray(image).reshape(image.height, image.width, len(self.mean))
        normalised = np.empty((len(self.mean), image.height, image.width), np.float32)
        for channel, values in enumerate(self._values):
            np.take(values, pixels[..., channel], out=normalised[channel], mode="clip")  # clip: `out` unbuffered
        return torch.from_numpy(normalised)

    @cached_property
    def _values(self) -> np.ndarray:
        """float32 (C, 256): the normalised value of every 8-bit value."""
        mean, std = torch.tensor([self.mean, self.std], dtype=torch.float32)[..., None]
        values = (torch.arange(256, dtype=torch.float32) / 255).sub(mean).div(std)
        return values.numpy()
