"""nn.Linear by the fastest way at hand."""

from __future__ import annotations

from torch import Tensor, nn

from muntin.ops.linear import linear


class Linear(nn.Linear):
    """As nn.Linear, with the GELU that may follow: (..., C_in) -> (..., C_out)."""

    def forward(self, x: Tensor, gelu: bool = False) -> Tensor:
        return linear(x, self.weight, self.bias, gelu)
