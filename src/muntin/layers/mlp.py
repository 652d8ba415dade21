"""The two-layer perceptron of a transformer block."""

from __future__ import annotations

from torch import Tensor, nn

from .linear import Linear, linear_gelu


class Mlp(nn.Module):
    """Linear, exact (erf) GELU, linear: (..., C) -> (..., C)."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1 = Linear(dim, hidden)
        self.fc2 = Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(linear_gelu(self.fc1, x))
