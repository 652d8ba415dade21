"""Window attention as one operation with the layout of an image on both sides.

Everything that has windows calls `window_attention`: plain or shifted, 2-D or more, dot or cosine. How it is
computed is the backend's matter:

- `reference`: pad, roll, partition, attend, merge, roll back, crop, in the words of the paper; one N x N mask a window.
- `sdpa`: the same through PyTorch's fused attention, which wants one type: in bf16 it rounds the bias and V2's scaled
  queries and keys to bf16 before an fp32 softmax. Fastest on GPUs.
- `direct`: cache-sized chunks and a gradient written by hand, which keeps P; never rolls the map. Fastest on CPUs.
- `chunked`: as `direct`, but P is computed again in backward, so that N x N numbers exist for one chunk only: the
  "sequential self-attention" of Swin V2 (sec. 3.5).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from muntin.errors import unknown
from muntin.ops.fast.window_attention import Geometry, boxwise_attention

from .attention import attend, probabilities, temperature_scale, unit_vectors
from .grouping import Size, crop_grid, gather_bias, merge, pad_grid, padded_size, partition, shift_mask

Backend = Literal["auto", "reference", "sdpa", "direct", "chunked"]
BACKENDS: tuple[Backend, ...] = ("auto", "reference", "sdpa", "direct", "chunked")
LARGE_WINDOW = 1024  # tokens from which `auto` no longer keeps P: N x N is then larger than all the rest


def window_attention(
    qkv: Tensor,
    table: Tensor,
    *,
    heads: int,
    window: Size,
    shift: Size,
    scale: float | None = None,
    logit_scale: Tensor | None = None,
    qkv_bias: Tensor | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Attention inside (shifted) windows of a grid: (B, *S, 3C) -> (B, *S, C).

    qkv: queries, keys and values, each head by head. table: (prod(2 * window - 1), h), the bias of every offset.
    scale: of dot-product logits (default D^-0.5). logit_scale: (h, 1, 1), selects the scaled cosine similarity of
    Swin V2 instead. qkv_bias: (3C,), the value of cells beyond the map, which are padding and yet real keys (zero if
    left out). A map that windows do not divide is padded at the far end; -100 keeps shifted-in strangers apart.
    """
    if backend not in BACKENDS:
        raise unknown("attention backend", backend, BACKENDS)
    size = tuple(qkv.shape[1:-1])
    qkv, scale, s = _prepared(qkv, heads, window, scale, logit_scale, qkv_bias)
    if backend == "auto":
        backend = choose_backend(qkv, math.prod(window))
    if backend in ("reference", "sdpa"):
        out = _rolled(qkv, table, heads, window, shift, scale, s, backend)
    else:
        out = boxwise_attention(qkv, table, s, Geometry(heads, window, shift, scale, backend == "direct"))
    return crop_grid(out, size)


def choose_backend(qkv: Tensor, tokens: int) -> Backend:
    """What `auto` stands for, from the device, the size of a window and whether the graph is being traced."""
    if torch.compiler.is_compiling():
        return "sdpa"
    if tokens >= LARGE_WINDOW:
        return "chunked"
    return "direct" if qkv.device.type == "cpu" else "sdpa"


def window_probabilities(
    qkv: Tensor,
    table: Tensor,
    *,
    heads: int,
    window: Size,
    shift: Size,
    scale: float | None = None,
    logit_scale: Tensor | None = None,
    qkv_bias: Tensor | None = None,
) -> Tensor:
    """The attention weights themselves, window by window of the rolled map: (B, *S, 3C) -> (B, nW, h, N, N)."""
    qkv, scale, s = _prepared(qkv, heads, window, scale, logit_scale, qkv_bias)
    q, k, _, bias = _rolled_windows(qkv, table, heads, window, shift, scale, s)
    return probabilities(q, k, bias)


def _prepared(
    qkv: Tensor, heads: int, window: Size, scale: float | None, logit_scale: Tensor | None, qkv_bias: Tensor | None
) -> tuple[Tensor, float, Tensor | None]:
    """The padded grid, the scale of dot products, and V2's 1/tau or None."""
    D = qkv.shape[-1] // 3 // heads
    padded = padded_size(tuple(qkv.shape[1:-1]), window)
    s = None if logit_scale is None else temperature_scale(logit_scale)
    return _fill_padding(qkv, padded, qkv_bias), D**-0.5 if scale is None else scale, s


def _fill_padding(qkv: Tensor, padded: Size, qkv_bias: Tensor | None) -> Tensor:
    """Pad the grid; cells beyond the map hold what the projection makes of a zero token, its bias."""
    size = tuple(qkv.shape[1:-1])
    if padded == size:
        return qkv
    qkv = pad_grid(qkv, padded)
    if qkv_bias is None:
        return qkv
    inside = pad_grid(torch.zeros(1, *size, 1, dtype=torch.bool, device=qkv.device).logical_not(), padded)
    return torch.where(inside, qkv, qkv_bias.to(qkv.dtype))


# --- reference and sdpa: in the words of the paper -------------------------------------------------------------------


def _rolled_windows(
    qkv: Tensor, table: Tensor, heads: int, window: Size, shift: Size, scale: float, s: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q (scaled), k, v as (B, nW, h, N, D) and the bias with the mask, (nW or 1, h, N, N)."""
    B, *size, C3 = qkv.shape
    axes, N = tuple(range(1, len(size) + 1)), math.prod(window)
    if any(shift):
        qkv = qkv.roll([-d for d in shift], axes)
    nW = math.prod([d // w for d, w in zip(size, window)])
    windows = partition(qkv, window).view(B, nW, N, 3, heads, C3 // 3 // heads)
    q, k, v = windows.permute(3, 0, 1, 4, 2, 5).unbind(0)
    if s is None:
        q = q * scale
    else:
        q, k = unit_vectors(q, s), unit_vectors(k)
    bias = gather_bias(table, window)[None]
    if any(shift):
        bias = bias + shift_mask(tuple(size), window, shift, bias.device).to(bias)[:, None]
    return q, k, v, bias


def _rolled(
    qkv: Tensor,
    table: Tensor,
    heads: int,
    window: Size,
    shift: Size,
    scale: float,
    s: Tensor | None,
    backend: Literal["reference", "sdpa"],
) -> Tensor:
    size = tuple(qkv.shape[1:-1])
    q, k, v, bias = _rolled_windows(qkv, table, heads, window, shift, scale, s)
    if backend == "sdpa":  # wants four axes, one type, and a mask for every window of the batch
        q, k = q.to(v.dtype), k.to(v.dtype)
        bias = bias.expand(q.shape[0], q.shape[1], -1, -1, -1).flatten(0, 1) if bias.shape[0] > 1 else bias
        q, k, v = (t.flatten(0, 1) for t in (q, k, v))
    out = attend(q, k, v, bias, backend)  # (..., h, N, D)
    out = merge(out.transpose(-3, -2).flatten(-2).flatten(0, -3), window, size)
    return out.roll(list(shift), tuple(range(1, len(size) + 1))) if any(shift) else out
