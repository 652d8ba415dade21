"""Left-right flips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from muntin.data.sources.source import Sample
from muntin.data.transforms.transform import moved


@dataclass(frozen=True)
class Flip:
    """Mirrors left and right with this probability."""

    probability: float

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if rng.random() >= self.probability:
            return sample
        image: Image.Image = sample.inputs["image"]
        step = (-1.0, 0.0, image.width, 0.0, 1.0, 0.0)
        return moved(sample, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), step)
