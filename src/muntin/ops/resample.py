"""Learned grids at another size: position embeddings and bias tables."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from muntin.errors import UserError

from .windows import Size

Resample = Literal["bicubic", "bicubic_antialias", "bilinear_corners"]
RESAMPLES: tuple[Resample, ...] = get_args(Resample)

_MODES = {1: "linear", 2: "bicubic", 3: "trilinear"}


def resize_grid(grid: Tensor, size: Size, resample: Resample = "bicubic") -> Tensor:
    """A channels-last grid at another size: (*S, C) -> (*size, C).

    bicubic: corners not aligned, no antialias, as the official Swin and DeiT code; linear in one axis and three.
    bicubic_antialias: two axes, smoothed where the grid shrinks, as timm. bilinear_corners: corners on corners, as the
    official ViT code with scipy's zoom of order 1.
    """
    if resample == "bicubic_antialias" and len(size) != 2:
        raise UserError(f"bicubic_antialias resizes grids of two axes; this one has {len(size)}: choose another way")
    channels_first = grid.movedim(-1, 0)[None].to(torch.promote_types(grid.dtype, torch.float32))
    mode = _MODES[len(size)]
    if resample == "bilinear_corners":
        resized = F.interpolate(channels_first, size=size, mode=mode.replace("bicubic", "bilinear"), align_corners=True)
    else:
        antialias = resample == "bicubic_antialias"
        resized = F.interpolate(channels_first, size=size, mode=mode, align_corners=False, antialias=antialias)
    return resized[0].movedim(0, -1).to(grid.dtype)


def resize_bias_table(table: Tensor, from_window: Size, to_window: Size) -> Tensor:
    """A relative position bias table for another window: (prod(2 * from - 1), h) -> (prod(2 * to - 1), h)."""
    grid = table.unflatten(0, [2 * w - 1 for w in from_window])
    return resize_grid(grid, tuple(2 * w - 1 for w in to_window)).flatten(0, len(to_window) - 1).contiguous()
