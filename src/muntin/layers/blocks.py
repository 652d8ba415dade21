"""Blocks: residual wirings, which say where norms and residuals go, and the parts that every block is made of.

What mixes tokens is handed to a wiring, already built.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from muntin.errors import UserError
from muntin.ops.fast.linear import linear

M = TypeVar("M", bound=nn.Module)


class Series(nn.ModuleList, Generic[M]):
    """Modules of one kind, such as the blocks of a stage; called, each takes what the one before it gives.

    What else `forward` is given goes to every one of them.
    """

    def forward(self, x: Tensor, *given: Any) -> Tensor:
        for module in self:
            x = module(x, *given)
        return x

    if TYPE_CHECKING:  # an nn.ModuleList does not know what it holds

        def __iter__(self) -> Iterator[M]: ...


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


class LayerScale(nn.Module):
    """A learned factor for every channel of a residual branch (Touvron et al., 2021, arXiv:2103.17239, sec. 2.2).

    (..., C) -> (..., C). The paper starts it near 0, so that each block begins close to the identity; the value is the
    model's choice.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class DropPath(nn.Module):
    """Stochastic depth (Huang et al., 2016): drops a residual branch for whole samples while training.

    What is kept is divided by the keep rate.
    rate: chance in [0, 1) that a sample skips the branch. (B, ...) -> (B, ...).
    """

    def __init__(self, rate: float = 0.0):
        super().__init__()
        self.rate = _chance(rate)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        return x * x.new_empty(x.shape[0], *[1] * (x.ndim - 1)).bernoulli_(keep).div_(keep)

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}"


def drop_path_ramp(rate: float, depths: tuple[int, ...]) -> list[list[float]]:
    """Drop path rates that grow linearly from 0 at the first block to `rate` at the last, stage by stage."""
    total, rate = sum(depths), _chance(rate)
    rates = [rate * i / max(1, total - 1) for i in range(total)]
    return [[rates.pop(0) for _ in range(depth)] for depth in depths]


def _chance(rate: float) -> float:
    if not 0.0 <= rate < 1.0:
        raise UserError(f"the drop path rate is {rate}; it must be a chance in [0, 1)")
    return rate


class Linear(nn.Linear):
    """As nn.Linear, by the fastest code for this processor: (..., C_in) -> (..., C_out)."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def linear_then(layer: nn.Module, activation: nn.Module, x: Tensor) -> Tensor:
    """Apply a layer, then an activation. A plain `Linear` and a GELU without hooks become one operation."""
    if type(layer) is Linear and type(activation) is nn.GELU and not _hooked(layer) and not _hooked(activation):
        return linear(x, layer.weight, layer.bias, gelu=activation.approximate)  # type: ignore[arg-type]
    return activation(layer(x))


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)
