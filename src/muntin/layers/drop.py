"""Stochastic depth (Huang et al., 2016)."""

from __future__ import annotations

from torch import Tensor, nn

from muntin.errors import UserError


class DropPath(nn.Module):
    """Drops a residual branch for whole samples while training; survivors are divided by the keep rate.

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
