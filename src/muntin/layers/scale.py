"""Layer scale (Touvron et al., 2021, arXiv:2103.17239, sec. 2.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LayerScale(nn.Module):
    """A learned factor for every channel of a residual branch: (..., C) -> (..., C).

    The paper starts it near 0, so that each block begins close to the identity; the value is the model's choice.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma
