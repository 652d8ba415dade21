"""Stochastic depth (Huang et al., 2016)."""

from __future__ import annotations

from torch import Tensor, nn


class DropPath(nn.Module):
    """Drops a residual branch for whole samples while training; survivors are divided by the keep rate.

    rate: chance in [0, 1) that a sample skips the branch. (B, ...) -> (B, ...).
    """

    def __init__(self, rate: float = 0.0):
        super().__init__()
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"drop path rate {rate} is not a chance in [0, 1)")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        return x * x.new_empty(x.shape[0], *[1] * (x.ndim - 1)).bernoulli_(keep).div_(keep)

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}"


def drop_path_ramp(rate: float, depths: tuple[int, ...]) -> list[list[float]]:
    """Drop path rates that grow linearly from 0 at the first block to `rate` at the last, stage by stage."""
    total = sum(depths)
    rates = [rate * i / max(1, total - 1) for i in range(total)]
    return [[rates.pop(0) for _ in range(depth)] for depth in depths]
