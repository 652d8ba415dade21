"""Random erasing (Zhong et al., 2017, arXiv:1708.04896), the recipes' "pixel" mode."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from muntin.data.sources.source import Sample

LEAST, MOST = 0.02, 1 / 3  # area, as a share of the picture
ASPECT = (0.3, 1 / 0.3)


@dataclass(frozen=True)
class RandomErasing:
    """Fills one random rectangle of a normalised picture (C, H, W) with N(0, 1), in place, with this probability.

    Its area is uniform, its aspect log-uniform; ten tries until it is smaller than the picture along both axes.
    """

    probability: float

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if rng.random() >= self.probability:
            return sample
        x: Tensor = sample.inputs["image"]
        C, H, W = x.shape
        for _ in range(10):
            area = H * W * rng.uniform(LEAST, MOST)
            aspect = math.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
            height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if height < H and width < W:
                top, left = rng.integers(H - height + 1), rng.integers(W - width + 1)
                noise = rng.standard_normal((C, height, width), dtype=np.float32)
                x[:, top : top + height, left : left + width] = torch.from_numpy(noise)
                break
        return sample
