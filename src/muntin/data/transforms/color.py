"""Colour jitter of the papers' training recipes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muntin.data.sources.source import Sample
from muntin.data.transforms.transform import changed
from muntin.data.transforms.vision import functional


@dataclass(frozen=True)
class ColorJitter:
    """Brightness, contrast and saturation, in random order, each times its own factor from [1 - s, 1 + s], uniform.

    torchvision's ColorJitter(s, s, s), but for where the draws come from.
    """

    strength: float

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        F, image = functional(), sample.inputs["image"]
        changes = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
        for change in rng.permutation(3).tolist():
            image = changes[change](image, rng.uniform(1 - self.strength, 1 + self.strength))
        return changed(sample, image)
