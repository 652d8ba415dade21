"""The two-layer perceptron of a transformer block."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .linear import Linear, linear_then


class Mlp(nn.Module):
    """Linear, activation, linear: (..., C) -> (..., C).

    activation: the exact (erf) GELU where none is given. dropout: rate after each of the two maps.
    """

    def __init__(self, dim: int, hidden: int, activation: nn.Module | None = None, dropout: float = 0.0):
        super().__init__()
        self.fc1 = Linear(dim, hidden)
        self.activation = activation or nn.GELU()
        self.fc2 = Linear(hidden, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(linear_then(self.fc1, self.activation, x))
        return self.dropout(self.fc2(x))


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), a GELU of one multiplication (Hendrycks and Gimpel, 2016, sec. 2): (...) -> (...)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(1.702 * x) / 1.702  # one tensor kept for the backward pass, not two
