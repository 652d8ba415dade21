"""nn.Linear by the fastest way at hand."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from muntin.ops.linear import linear


class Linear(nn.Linear):
    """As nn.Linear: (..., C_in) -> (..., C_out)."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def linear_gelu(layer: nn.Module, x: Tensor) -> Tensor:
    """GELU of a layer's output, in one operation where nobody can tell: the layer is a plain `Linear` without hooks."""
    if type(layer) is Linear and not layer._forward_hooks and not layer._forward_pre_hooks:
        return linear(x, layer.weight, layer.bias, gelu=True)
    return F.gelu(layer(x))
