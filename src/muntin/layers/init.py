"""Initialisers that several papers share."""

from __future__ import annotations

from torch import nn


def init_transformer(module: nn.Module) -> None:
    """Linear weights ~ N(0, 0.02) cut at +-2, their biases 0, layer norms 1 and 0. Applied to each submodule.

    Convolutions keep PyTorch's default, as in the official Swin code. (The cut at 100 sigma follows timm.)
    """
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
