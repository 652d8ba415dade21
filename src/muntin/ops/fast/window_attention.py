"""Window attention box by box, without rolling the map, and with a gradient written by hand.

A box is a run of windows that share one mask, of a few images at a time; inside it, matrix products go over as many
heads and windows as fit a core's cache. Backward needs the inputs, and P or the work to compute it again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from muntin.ops.attention import attend, backward_chunk, forward_chunk, unit_vectors
from muntin.ops.cached import without_autocast
from muntin.ops.grouping import Size, WindowClass, gather_bias, relative_position_index, window_classes

CHUNK = 1 << 20  # logits a chunk holds at most, 4 MB in fp32: small for the cache, large beside the cost of a call


class Geometry(NamedTuple):
    heads: int
    window: Size
    shift: Size
    scale: float
    keep: bool  # whether P is kept for backward


def boxwise_attention(qkv: Tensor, table: Tensor, s: Tensor | None, g: Geometry) -> Tensor:
    """Without gradients and in full precision PyTorch's fused kernel does the inside of a box.

    In bf16 the products written out are faster, and do not round the logits of V2.
    """
    differentiate = torch.is_grad_enabled() and any(t.requires_grad for t in (qkv, table, s) if t is not None)
    if differentiate or qkv.dtype not in (torch.float32, torch.float64):
        return _ByHand.apply(qkv, table, s, g)
    out, bias = qkv.new_empty(*qkv.shape[:-1], qkv.shape[-1] // 3), _Bias(table, g)
    with without_autocast(qkv.device):
        for images, cls in _boxes(qkv, g):
            q, k, v = _read_rows(qkv[images], cls, g)
            q, k = _similar(q, k, s, g)
            for a in range(0, g.heads, step := max(1, CHUNK // v.shape[2] ** 2)):
                hs = slice(a, a + step)
                o = attend(q[hs], k[hs], v[hs], bias.of(hs, cls), "sdpa")
                _write(out[images], o, cls, g, hs)
    return out


class _ByHand(torch.autograd.Function):
    """Both directions walk over (window class, images) boxes, and inside a box over (heads, windows) chunks."""

    @staticmethod
    def forward(ctx, qkv: Tensor, table: Tensor, s: Tensor | None, g: Geometry) -> Tensor:
        out = qkv.new_empty(*qkv.shape[:-1], qkv.shape[-1] // 3)
        bias = _Bias(table, g)
        keep, kept = g.keep and any(ctx.needs_input_grad), []
        with without_autocast(qkv.device):
            for images, cls in _boxes(qkv, g):
                q, k, v = _read(qkv[images], cls, g, 3)
                q, k = _similar(q, k, s, g)
                o = v.new_empty(v.shape)
                P = v.new_empty(*v.shape[:3], v.shape[2]) if keep else None
                for hs in _head_slices(v):
                    b = bias.of(hs, cls)
                    for ws in _window_slices(v):
                        p = None if P is None else P[hs, ws]
                        forward_chunk(q[hs, ws], k[hs, ws], v[hs, ws], b, out=o[hs, ws], P=p)
                kept.append(P)
                _write(out[images], o, cls, g)
        ctx.geometry, ctx.has_scale = g, s is not None
        saved = [qkv, table] + ([s] if s is not None else []) + (kept if keep else [])
        ctx.save_for_backward(*saved)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):  # type: ignore[override]
        g: Geometry = ctx.geometry
        qkv, table, *rest = ctx.saved_tensors
        s = rest.pop(0) if ctx.has_scale else None
        bias, dqkv = _Bias(table, g), torch.empty_like(qkv)
        ds = None if s is None else torch.zeros_like(s)
        grad = grad.to(qkv.dtype)
        with without_autocast(qkv.device):
            for images, cls in _boxes(qkv, g):
                q0, k0, v = _read(qkv[images], cls, g, 3)
                q, k = _similar(q0, k0, s, g)
                (do,) = _read(grad[images], cls, g, 1)
                P = rest.pop(0) if rest else None
                d = v.new_empty(3, *v.shape)
                # of the similarity's q and k first, which are wider than v for the cosine
                dq, dk = (d[0], d[1]) if s is None else (q.new_empty(q.shape), k.new_empty(k.shape))
                for hs in _head_slices(v):
                    b = bias.of(hs, cls)
                    for ws in _window_slices(v):
                        operands, dv = (q[hs, ws], k[hs, ws], v[hs, ws]), d[2][hs, ws]
                        p = P[hs, ws] if P is not None else forward_chunk(*operands, b, out=dv)
                        db = backward_chunk(do[hs, ws], *operands, p, out=(dq[hs, ws], dk[hs, ws], dv))
                        bias.add_gradient(hs, db)
                if s is None or ds is None:
                    dq.mul_(g.scale)
                else:
                    d[0], ds_box = _scaled_unit_backward(dq, q0, s)
                    d[1], _ = _scaled_unit_backward(dk, k0, torch.ones_like(s))
                    ds += ds_box
                _write(dqkv[images], d, cls, g)
        return dqkv, bias.table_gradient() if ctx.needs_input_grad[1] else None, ds, None


class _Bias:
    """The position bias of a few heads at a time, and its gradient; (h, N, N) is whole only where small."""

    def __init__(self, table: Tensor, g: Geometry):
        self.table, self.window, N = table, g.window, math.prod(g.window)
        self.wide = torch.promote_types(table.dtype, torch.float32)
        self.whole = self._gather(slice(None)) if g.heads * N * N <= CHUNK else None
        self.dtable: Tensor | None = None
        self.heads, self.pending = slice(0), torch.empty(0)

    def of(self, hs: slice, cls: WindowClass) -> Tensor:
        """Bias of a slice of heads with the mask of a window class: (H, 1, N, N)."""
        bias = self.whole[hs] if self.whole is not None else self._gather(hs)
        return (bias if cls.mask is None else bias + cls.mask)[:, None]

    def add_gradient(self, hs: slice, dbias: Tensor) -> None:
        """Add (H, N, N). A sum over windows is pending until other heads come, and only then goes into the table."""
        if self.whole is not None:
            if not self.pending.numel():
                self.heads, self.pending = slice(None), torch.zeros_like(self.whole)
            self.pending[hs] += dbias
        elif hs == self.heads:
            self.pending += dbias
        else:
            self._flush()
            self.heads, self.pending = hs, dbias

    def table_gradient(self) -> Tensor:
        self._flush()
        assert self.dtable is not None
        return self.dtable.to(self.table.dtype)

    def _gather(self, hs: slice) -> Tensor:
        return gather_bias(self.table[:, hs], self.window).to(self.wide)

    def _flush(self) -> None:
        if self.dtable is None:
            self.dtable = torch.zeros(self.table.shape, dtype=self.wide, device=self.table.device)
        if self.pending.numel():
            index = relative_position_index(self.window, self.table.device).reshape(-1)
            rows = self.pending.flatten(1).T.contiguous()
            # the gradient of the gather; index_add_ does the same thirty times slower
            gathered = torch.ops.aten.embedding_dense_backward(rows, index, len(self.table), -1, False)
            self.dtable[:, self.heads] += gathered


def _boxes(qkv: Tensor, g: Geometry) -> Iterator[tuple[slice, WindowClass]]:
    """Every window class, a few images at a time: as many as make about one chunk."""
    B, N = qkv.shape[0], math.prod(g.window)
    for cls in window_classes(tuple(qkv.shape[1:-1]), g.window, g.shift, qkv.device):
        step = max(1, CHUNK // (math.prod(cls.windows) * g.heads * N * N))
        for start in range(0, B, step):
            yield slice(start, start + step), cls


def _window_slices(v: Tensor) -> Iterator[slice]:
    """As many windows as hold CHUNK logits of one head, at least one: v (h, G, N, D)."""
    _, G, N, _ = v.shape
    step = min(G, max(1, CHUNK // (N * N)))
    return (slice(a, a + step) for a in range(0, G, step))


def _head_slices(v: Tensor) -> Iterator[slice]:
    """As many heads as hold CHUNK logits over all windows, at least one: v (h, G, N, D)."""
    h, G, N, _ = v.shape
    step = max(1, CHUNK // (G * N * N))
    return (slice(a, a + step) for a in range(0, h, step))


def _similar(q: Tensor, k: Tensor, s: Tensor | None, g: Geometry) -> tuple[Tensor, Tensor]:
    """Queries and keys whose product is the similarity: scaled, or unit vectors with the temperature in q."""
    if s is None:
        return q * g.scale, k
    return unit_vectors(q, s[:, None]), unit_vectors(k)


def _scaled_unit_backward(grad: Tensor, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of s * x / |x|: x (h, G, N, D) and s (h, 1, 1) -> dx and ds."""
    inverse = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=grad.dtype).clamp_min_(1e-12).reciprocal_()
    unit = x * inverse
    along = (grad * unit).sum(-1, keepdim=True)
    return grad.addcmul(unit, along, value=-1).mul_(inverse * s[:, None]), along.sum((1, 2, 3)).view(-1, 1, 1)


def _box(grid: Tensor, cls: WindowClass, g: Geometry, parts: int) -> Tensor:
    """The windows of one class: (B, *S, parts * h * D) -> (B, n1, w1, n2, w2, ..., parts, h, D), a view off the rim."""
    for axis, runs in enumerate(cls.spans, start=1):
        pieces = [grid.narrow(axis, start, length) for start, length in runs]
        grid = pieces[0] if len(pieces) == 1 else torch.cat(pieces, axis)
    for axis in range(len(g.window), 0, -1):
        grid = grid.unflatten(axis, (cls.windows[axis - 1], g.window[axis - 1]))
    return grid.unflatten(-1, (parts, g.heads, -1))


def _read(grid: Tensor, cls: WindowClass, g: Geometry, parts: int) -> Tensor:
    """The windows of one class in the order of matrix products: -> (parts, h, B * nW, N, D), contiguous."""
    n, box = len(g.window), _box(grid, cls, g, parts)
    counts, cells = range(1, 2 * n, 2), range(2, 2 * n + 1, 2)
    box = box.permute(2 * n + 1, 2 * n + 2, 0, *counts, *cells, 2 * n + 3)
    return box.reshape(parts, g.heads, -1, math.prod(g.window), box.shape[-1])


def _read_rows(grid: Tensor, cls: WindowClass, g: Geometry) -> Tensor:
    """The same numbers copied token by token, which is faster, for kernels that take strides: (3, h, B * nW, N, D)."""
    n, box = len(g.window), _box(grid, cls, g, 3)
    counts, cells = range(1, 2 * n, 2), range(2, 2 * n + 1, 2)
    box = box.permute(0, *counts, *cells, 2 * n + 1, 2 * n + 2, 2 * n + 3)
    return box.reshape(-1, math.prod(g.window), *box.shape[-3:]).permute(2, 3, 0, 1, 4)


def _write(grid: Tensor, windows: Tensor, cls: WindowClass, g: Geometry, hs: slice = slice(None)) -> None:
    """The inverse of `_read`, into some heads of the map: windows (H, B * nW, N, D) or (3, h, B * nW, N, D)."""
    windows = windows if windows.ndim == 5 else windows[None]
    n, (parts, H, _, _, D) = len(g.window), windows.shape
    grid = grid.unflatten(-1, (parts, g.heads, D))[..., hs, :]
    windows = windows.unflatten(3, g.window).unflatten(2, (grid.shape[0], *cls.windows))
    pairs = [axis for i in range(n) for axis in (3 + i, 3 + n + i)]
    windows = windows.permute(2, *pairs, 0, 1, 3 + 2 * n)  # (B, n1, w1, n2, w2, ..., parts, H, D)
    if all(len(runs) == 1 for runs in cls.spans):
        for axis, ((start, length),) in enumerate(cls.spans, start=1):
            grid = grid.narrow(axis, start, length)
        for axis in range(n, 0, -1):
            grid = grid.unflatten(axis, (cls.windows[axis - 1], g.window[axis - 1]))
        grid.copy_(windows)
        return
    box = windows.reshape(grid.shape[0], *[c * w for c, w in zip(cls.windows, g.window)], parts, H, D)
    _scatter_runs(grid, box, cls.spans, axis=1)


def _scatter_runs(grid: Tensor, box: Tensor, spans: tuple[tuple[tuple[int, int], ...], ...], axis: int) -> None:
    """Copy a box into the runs of each axis it was gathered from."""
    if not spans:
        grid.copy_(box)
        return
    at = 0
    for start, length in spans[0]:
        _scatter_runs(grid.narrow(axis, start, length), box.narrow(axis, at, length), spans[1:], axis + 1)
        at += length
