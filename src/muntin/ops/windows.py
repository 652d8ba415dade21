"""Window attention: cut a token grid into groups that attend inside themselves, for any number of axes.

Windows, shifted windows, factorised space and time, axial and global attention are all this, with other group
shapes: `(7, 7)`, `(8, 7, 7)`, `(T, 1, 1)`, `(1, H, 1)`, `(H, W)`. Order of the steps: pad first, then roll, crop last.

This is the plain code, in the words of the Swin paper. `ops.fast.window_attention` computes the same faster.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .attention import attend, probabilities, temperature_scale, unit_vectors
from .cached import cached

Size = tuple[int, ...]  # one number an axis

MASKED = -100.0  # added to the logits of pairs that only a shift brought together; soft, as in the official code


class Windows(NamedTuple):
    """How the tokens of a grid are grouped, and how many heads attend inside the groups."""

    window: Size  # tokens
    shift: Size  # tokens that the grid is rolled by, towards its near end, before it is cut
    heads: int
    scale: float  # of dot-product logits


def window_attention(
    qkv: Tensor,
    table: Tensor,
    index: Tensor,
    windows: Windows,
    *,
    logit_scale: Tensor | None = None,
    qkv_bias: Tensor | None = None,
    backend: Literal["reference", "sdpa"] = "reference",
) -> Tensor:
    """Attention inside (shifted) windows of a grid: (B, *S, 3C) -> (B, *S, C).

    qkv: queries, keys and values, each head by head. table (rows, h) and index (N, N): the position bias, and which of
    its rows each pair of a window reads. logit_scale: (h, 1, 1), selects the scaled cosine similarity of Swin V2 in
    place of the dot product. qkv_bias: (3C,), the value of cells beyond the map, which are padding and yet real keys
    (zero if left out). backend: as in `attend`.
    A map that windows do not divide is padded at the far end. Pairs that only the shift brought together get -100
    added to their logit.
    """
    size, (window, shift, *_) = tuple(qkv.shape[1:-1]), windows
    q, k, v, bias = _inside_windows(qkv, table, index, windows, logit_scale, qkv_bias)
    if backend == "sdpa":  # wants four axes, one type, and a mask for every window of the batch
        q, k = q.to(v.dtype), k.to(v.dtype)
        bias = bias.expand(q.shape[0], q.shape[1], -1, -1, -1).flatten(0, 1) if bias.shape[0] > 1 else bias
        q, k, v = (t.flatten(0, 1) for t in (q, k, v))
    out = attend(q, k, v, bias, backend)  # (..., h, N, D)
    out = merge(out.transpose(-3, -2).flatten(-2).flatten(0, -3), window, padded_size(size, window))
    return crop_grid(roll(out, shift), size)


def window_probabilities(
    qkv: Tensor,
    table: Tensor,
    index: Tensor,
    windows: Windows,
    *,
    logit_scale: Tensor | None = None,
    qkv_bias: Tensor | None = None,
) -> Tensor:
    """The attention weights themselves, window by window of the rolled map: (B, *S, 3C) -> (B, nW, h, N, N)."""
    q, k, _, bias = _inside_windows(qkv, table, index, windows, logit_scale, qkv_bias)
    return probabilities(q, k, bias)


def _inside_windows(
    qkv: Tensor, table: Tensor, index: Tensor, windows: Windows, logit_scale: Tensor | None, qkv_bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q (scaled), k, v as (B, nW, h, N, D) and the bias with the mask, (nW or 1, h, N, N)."""
    window, shift, heads, scale = windows
    s = None if logit_scale is None else temperature_scale(logit_scale)
    qkv = fill_padding(qkv, window, qkv_bias)
    B, *size, C3 = qkv.shape
    qkv = roll(qkv, tuple(-d for d in shift))
    nW, N = math.prod([d // w for d, w in zip(size, window)]), math.prod(window)
    cut = partition(qkv, window).view(B, nW, N, 3, heads, C3 // 3 // heads)
    q, k, v = cut.permute(3, 0, 1, 4, 2, 5).unbind(0)
    if s is None:
        q = q * scale
    else:
        q, k = unit_vectors(q, s), unit_vectors(k)
    bias = gather_bias(table, index)[None]
    if any(shift):
        bias = bias + shift_mask(tuple(size), window, shift, bias.device).to(bias)[:, None]
    return q, k, v, bias


# --- cutting, padding, rolling ---------------------------------------------------------------------------------------


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


def roll(x: Tensor, shift: Size) -> Tensor:
    """Move every axis of a grid by so many cells towards its far end; what leaves comes in at the near end."""
    return x.roll(list(shift), tuple(range(1, len(shift) + 1))) if any(shift) else x


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


def fill_padding(qkv: Tensor, window: Size, qkv_bias: Tensor | None) -> Tensor:
    """Pad a grid to whole windows; cells beyond the map hold what the projection makes of a zero token, its bias."""
    size = tuple(qkv.shape[1:-1])
    padded = padded_size(size, window)
    if padded == size:
        return qkv
    qkv = pad_grid(qkv, padded)
    if qkv_bias is None:
        return qkv
    inside = pad_grid(torch.zeros(1, *size, 1, dtype=torch.bool, device=qkv.device).logical_not(), padded)
    return torch.where(inside, qkv, qkv_bias.to(qkv.dtype))


# --- which pairs of a window may meet, and how far apart they are ----------------------------------------------------


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
def relative_position_index(window: Size, device: torch.device) -> Tensor:
    """Row of the bias table for each (query, key) of a window: (N, N), int64; the offset is query minus key."""
    cells = torch.stack(torch.meshgrid(*[torch.arange(w) for w in window], indexing="ij")).flatten(1)
    index = torch.zeros(cells.shape[1], cells.shape[1], dtype=torch.long)
    for axis, w in enumerate(window):
        index = index * (2 * w - 1) + (cells[axis][:, None] - cells[axis][None, :] + w - 1)
    return index.to(device)


def gather_bias(table: Tensor, index: Tensor) -> Tensor:
    """Position bias of every pair: table (rows, h), index (N, N) -> (h, N, N)."""
    N = len(index)
    return F.embedding(index.reshape(-1), table).view(N, N, -1).permute(2, 0, 1)


# --- maps no larger than a window ------------------------------------------------------------------------------------

SmallMapRule = Callable[[Size, Size, Size], tuple[Size, Size]]  # size of the map, window, shift -> window, shift


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
