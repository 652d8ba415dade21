"""Residual wirings: where norms and residuals go. What mixes tokens is handed in, already built."""

from __future__ import annotations

from torch import Tensor, nn


class PreNormBlock(nn.Module):
    """Residual block whose branch inputs are normalised: (B, *S, C) -> (B, *S, C).

    x = x + drop(mix(norm1(x)));  x = x + drop(mlp(norm2(x)))
    """

    def __init__(self, dim: int, mix: nn.Module, mlp: nn.Module, drop_path: nn.Module):
        super().__init__()
        self.norm1, self.mix = nn.LayerNorm(dim), mix
        self.norm2, self.mlp = nn.LayerNorm(dim), mlp
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.mix(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))
