"""Residual wirings: where norms and residuals go. What mixes tokens is handed in, already built."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from .scale import LayerScale


class PreNormBlock(nn.Module):
    """Residual block whose branch inputs are normalised: (B, *S, C) -> (B, *S, C).

    x = x + drop(mix(norm1(x)));  x = x + drop(mlp(norm2(x)))

    What else `forward` is given, such as the size of the grid, goes to `mix`.
    """

    def __init__(self, dim: int, mix: nn.Module, mlp: nn.Module, drop_path: nn.Module, eps: float = 1e-5):
        super().__init__()
        self.norm1, self.mix = nn.LayerNorm(dim, eps), mix
        self.norm2, self.mlp = nn.LayerNorm(dim, eps), mlp
        self.drop_path = drop_path

    def forward(self, x: Tensor, *given: Any) -> Tensor:
        x = x + self.drop_path(self.mix(self.norm1(x), *given))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class ScaledPreNormBlock(PreNormBlock):
    """As `PreNormBlock`, with layer scale on both branches.

    x = x + drop(scale1(mix(norm1(x))));  x = x + drop(scale2(mlp(norm2(x))))
    """

    def __init__(self, dim: int, mix: nn.Module, mlp: nn.Module, drop_path: nn.Module, eps: float = 1e-5):
        super().__init__(dim, mix, mlp, drop_path, eps)
        self.scale1, self.scale2 = LayerScale(dim), LayerScale(dim)

    def forward(self, x: Tensor, *given: Any) -> Tensor:
        x = x + self.drop_path(self.scale1(self.mix(self.norm1(x), *given)))
        return x + self.drop_path(self.scale2(self.mlp(self.norm2(x))))


class PostNormBlock(nn.Module):
    """Residual block whose sums are normalised, as in the first Transformer and in BERT: (B, N, C) -> (B, N, C).

    x = norm1(x + mix(x));  x = norm2(x + mlp(x))

    What else `forward` is given, such as a mask or another sequence, goes to `mix`. Dropout belongs to the branches.
    """

    def __init__(self, dim: int, mix: nn.Module, mlp: nn.Module, eps: float = 1e-5):
        super().__init__()
        self.mix, self.norm1 = mix, nn.LayerNorm(dim, eps)
        self.mlp, self.norm2 = mlp, nn.LayerNorm(dim, eps)

    def forward(self, x: Tensor, *given: Any) -> Tensor:
        x = self.norm1(x + self.mix(x, *given))
        return self.norm2(x + self.mlp(x))
