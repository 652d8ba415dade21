"""Learned grids at another size: position embeddings and bias tables."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .grouping import Size

_MODES = {1: "linear", 2: "bicubic", 3: "trilinear"}


def resize_grid(grid: Tensor, size: Size) -> Tensor:
    """A channels-last grid at another size, bicubic for two axes: (*S, C) -> (*size, C).

    As the official Swin code: corners not aligned, no antialias.
    """
    channels_first = grid.movedim(-1, 0)[None].to(torch.promote_types(grid.dtype, torch.float32))
    resized = F.interpolate(channels_first, size=size, mode=_MODES[len(size)], align_corners=False)
    return resized[0].movedim(0, -1).to(grid.dtype)


def resize_bias_table(table: Tensor, from_window: Size, to_window: Size) -> Tensor:
    """A relative position bias table for another window: (prod(2 * from - 1), h) -> (prod(2 * to - 1), h)."""
    grid = table.unflatten(0, [2 * w - 1 for w in from_window])
    return resize_grid(grid, tuple(2 * w - 1 for w in to_window)).flatten(0, len(to_window) - 1).contiguous()
