"""Cutting a token grid into groups that attend inside themselves, for any number of axes.

Windows, shifted windows, factorised space and time, axial and global attention are all this, with other group
shapes: `(7, 7)`, `(8, 7, 7)`, `(T, 1, 1)`, `(1, H, 1)`, `(H, W)`. Order of the steps: pad first, then roll, crop last.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .cached import cached

Size = tuple[int, ...]
SmallMapRule = Callable[[Size, Size, Size], tuple[Size, Size]]

MASKED = -100.0  # added to the logits of pairs that a shift brought together; soft, as in the official code


def partition(x: Tensor, window: Size) -> Tensor:
    """Cut a grid into windows: (B, *S, C) -> (B * nW, prod(window), C). Each axis must divide."""
    B, *size, C = x.shape
    n = len(size)
    x = x.reshape(B, *[d for s, w in zip(size, window) for d in (s // w, w)], C)
    counts, cells = range(1, 2 * n, 2), range(2, 2 * n + 1, 2)
    nW = math.prod([s // w for s, w in zip(size, window)])
    return x.permute(0, *counts, *cells, 2 * n + 1).reshape(B * nW, math.prod(window), C)


def merge(windows: Tensor, window: Size, size: Size) -> Tensor:
    """Lay windows out as a grid again, the inverse of `partition`: (B * nW, prod(window), C) -> (B, *size, C)."""
    C, n = windows.shape[-1], len(size)
    counts = [s // w for s, w in zip(size, window)]
    B = windows.shape[0] // math.prod(counts)  # len() would fix it when traced
    x = windows.reshape(B, *counts, *window, C)
    pairs = [axis for i in range(n) for axis in (1 + i, 1 + n + i)]
    return x.permute(0, *pairs, 2 * n + 1).reshape(B, *size, C)


def padded_size(size: Size, window: Size) -> Size:
    """The size with every axis rounded up to a multiple of the window."""
    return tuple(-(-s // w) * w for s, w in zip(size, window))


def pad_grid(x: Tensor, size: Size) -> Tensor:
    """Zero-pad a channels-last grid at the far end of each axis: (B, *S, C) -> (B, *size, C)."""
    missing = [t - s for t, s in zip(size, x.shape[1:-1])]
    return F.pad(x, [0, 0, *itertools.chain(*[(0, m) for m in reversed(missing)])]) if any(missing) else x


def crop_grid(x: Tensor, size: Size) -> Tensor:
    """Keep the near end of each axis: (B, *S, C) -> (B, *size, C), a view."""
    for axis, s in enumerate(size, start=1):
        if s != x.shape[axis]:  # a slice that takes all would still cost a copy in backward
            x = x.narrow(axis, 0, s)
    return x


def shrink_to_shorter_side(size: Size, window: Size, shift: Size) -> tuple[Size, Size]:
    """Small-map rule of the official classifiers: the SHORTER side decides for all axes.

    Where it is no longer than the window, the window becomes that side and the shift is dropped, on every axis.
    Other libraries decide axis by axis, and differ on maps with one short side.
    """
    side = min(size)
    if side > min(window):
        return window, shift
    return tuple(min(w, side) for w in window), (0,) * len(window)


def keep_window(size: Size, window: Size, shift: Size) -> tuple[Size, Size]:
    """Small-map rule of the official dense backbones: the window stays, the map is padded, the shift is kept."""
    return window, shift


SMALL_MAP_RULES: dict[str, SmallMapRule] = {"shrink": shrink_to_shorter_side, "keep": keep_window}


def shift_regions(size: Size, window: Size, shift: Size, device: torch.device | None = None) -> Tensor:
    """Number of the region each cell of a map that is ALREADY rolled by -shift belongs to: (*size), int64.

    Each shifted axis is cut at -window and -shift, counted from its end.
    """
    region = torch.zeros(size, dtype=torch.long, device=device)
    for axis, (s, w, d) in enumerate(zip(size, window, shift)):
        part = torch.zeros(s, dtype=torch.long, device=device)
        if d:
            part[s - w :] = 1
            part[s - d :] = 2
        region = region * 3 + part.reshape([-1 if a == axis else 1 for a in range(len(size))])
    return region


def shift_mask(size: Size, window: Size, shift: Size, device: torch.device | None = None) -> Tensor:
    """What a shift adds to the logits of each window: (nW, N, N), 0 inside a region and -100 across regions."""
    region = partition(shift_regions(size, window, shift, device)[None, ..., None], window).squeeze(-1)
    return torch.zeros((), device=device).where(region[:, :, None] == region[:, None, :], MASKED)


@cached
def rim_mask(window: Size, cut: Size, device: torch.device) -> Tensor:
    """The mask of a window that lies on the rim of the axes with a `cut`: (N, N)."""
    return shift_mask(window, window, cut, device)[0]


class _Span(NamedTuple):
    """A class's part of one axis."""

    runs: tuple[tuple[int, int], ...]  # (start, length) on the grid that is not rolled
    windows: int
    wraps: bool  # whether it joins the two ends of the axis


class WindowClass(NamedTuple):
    """Windows of one image that share a shift mask: a box of windows, never all of them one by one.

    Along a shifted axis either all windows but the last, or the last, which holds both ends of the axis.
    """

    spans: tuple[tuple[tuple[int, int], ...], ...]  # per axis: the (start, length) runs of the unrolled grid
    windows: Size  # windows along each axis
    mask: Tensor | None  # (N, N), None where nothing is masked


@cached
def window_classes(size: Size, window: Size, shift: Size, device: torch.device) -> tuple[WindowClass, ...]:
    """The at most 2^n window classes of a padded grid; together they hold every cell once.

    The interior windows of a shifted map are a plain slice of it, so only its rim is ever really rolled.
    """
    axes: list[list[_Span]] = []
    for s, w, d in zip(size, window, shift):
        if not d:
            axes.append([_Span(((0, s),), s // w, False)])
            continue
        rim = _Span(((s - w + d, w - d), (0, d)), 1, True)
        axes.append([_Span(((d, s - w),), s // w - 1, False), rim] if s > w else [rim])
    classes = []
    for choice in itertools.product(*axes):
        mask = None
        if any(span.wraps for span in choice):
            cut = tuple(d if span.wraps else 0 for d, span in zip(shift, choice))
            mask = rim_mask(window, cut, device)
        classes.append(WindowClass(tuple(span.runs for span in choice), tuple(span.windows for span in choice), mask))
    return tuple(classes)


@cached
def relative_position_index(window: Size, device: torch.device) -> Tensor:
    """Row of the bias table for each (query, key) of a window: (N, N), int64; the offset is query minus key."""
    cells = torch.stack(torch.meshgrid(*[torch.arange(w) for w in window], indexing="ij")).flatten(1)
    index = torch.zeros(cells.shape[1], cells.shape[1], dtype=torch.long)
    for axis, w in enumerate(window):
        index = index * (2 * w - 1) + (cells[axis][:, None] - cells[axis][None, :] + w - 1)
    return index.to(device)


def gather_bias(table: Tensor, window: Size) -> Tensor:
    """Position bias of every pair of a window: (prod(2w - 1), h) -> (h, N, N)."""
    N = math.prod(window)
    index = relative_position_index(window, table.device)
    return F.embedding(index.reshape(-1), table).view(N, N, -1).permute(2, 0, 1)
