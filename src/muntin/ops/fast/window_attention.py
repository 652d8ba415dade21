"""Window attention by the fastest way at hand; every way computes what `ops.windows.window_attention` says.

- `reference`: `window_attention` itself, in the words of the paper; one N x N mask a window.
- `sdpa`: the same through PyTorch's fused attention, which wants one type: in bf16 it rounds the bias and V2's scaled
  queries and keys to bf16 before an fp32 softmax. Fastest on GPUs.
- `direct`: box by box in cache-sized chunks, with a gradient written by hand that keeps P. Fastest on CPUs.
- `chunked`: as `direct`, but P is computed again in backward, so that N x N numbers exist for one chunk only: the
  "sequential self-attention" of Swin V2 (sec. 3.5).

A box is a run of windows that share one mask, of a few images at a time: the map is never rolled. Inside a box, matrix
products go over as many heads and windows as fit a core's cache.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from muntin.errors import unknown
from muntin.ops.attention import attend, backward_chunk, forward_chunk, temperature_scale, unit_vectors
from muntin.ops.cached import cached, without_autocast
from muntin.ops.windows import Size, Windows, crop_grid, fill_padding, gather_bias, shift_mask, window_attention

from .choice import is_tuned

Backend = Literal["auto", "reference", "sdpa", "direct", "chunked"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
SMALL_WINDOW = 64  # tokens, as of 7 x 7 and 8 x 8
LARGE_WINDOW = 1024  # tokens from which `auto` no longer keeps P: N x N is then larger than all the rest
CHUNK = 1 << 20  # logits a chunk holds at most, 4 MB in fp32: small for the cache, large beside the cost of a call


def fast_window_attention(
    qkv: Tensor,
    table: Tensor,
    index: Tensor,
    windows: Windows,
    *,
    logit_scale: Tensor | None = None,
    qkv_bias: Tensor | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """As `ops.windows.window_attention`, by one of the ways above: (B, *S, 3C) -> (B, *S, C)."""
    if backend not in BACKENDS:
        raise unknown("attention backend", backend, BACKENDS)
    if backend == "auto":
        backend = choose_backend(qkv, math.prod(windows.window))
    if backend == "reference" or backend == "sdpa":
        return window_attention(qkv, table, index, windows, logit_scale=logit_scale, qkv_bias=qkv_bias, backend=backend)
    s = None if logit_scale is None else temperature_scale(logit_scale)
    padded = fill_padding(qkv, windows.window, qkv_bias)
    return crop_grid(_boxwise(padded, table, index, s, windows, backend == "direct"), tuple(qkv.shape[1:-1]))


def choose_backend(qkv: Tensor, tokens: int) -> Backend:
    """What `auto` stands for, from the device, the size of a window and whether the graph is being traced."""
    if torch.compiler.is_compiling():
        return "sdpa"
    if tokens >= LARGE_WINDOW:
        return "chunked"
    return "direct" if qkv.device.type == "cpu" else "sdpa"


def _boxwise(qkv: Tensor, table: Tensor, index: Tensor, s: Tensor | None, w: Windows, keep: bool) -> Tensor:
    """Attention of a padded grid, (B, *S, 3C) -> (B, *S, C). s: V2's 1/tau. keep: whether P is kept for backward.

    Without gradients and in full precision PyTorch's fused kernel does the inside of a box, unless the products
    written out were measured to be faster (`choice.py`). In bf16 they are, and do not round the logits of V2.
    """
    differentiate = torch.is_grad_enabled() and any(t.requires_grad for t in (qkv, table, s) if t is not None)
    if differentiate or qkv.dtype not in (torch.float32, torch.float64) or _products_are_faster(qkv, w):
        return _ByHand.apply(qkv, table, index, s, w, keep)
    out, bias = qkv.new_empty(*qkv.shape[:-1], qkv.shape[-1] // 3), _Bias(table, index, w)
    with without_autocast(qkv.device):
        for images, cls in _boxes(qkv, w):
            q, k, v = _read_rows(qkv[images], cls, w)
            q, k = _similar(q, k, s, w)
            for a in range(0, w.heads, step := max(1, CHUNK // v.shape[2] ** 2)):
                hs = slice(a, a + step)
                o = attend(q[hs], k[hs], v[hs], bias.of(hs, cls), "sdpa")
                _write(out[images], o, cls, w, hs)
    return out


def _products_are_faster(qkv: Tensor, w: Windows) -> bool:
    if torch.compiler.is_compiling() or qkv.device.type != "cpu":
        return False
    return is_tuned(("window attention", qkv.dtype, shape_class(math.prod(w.window))))


def shape_class(tokens: int) -> str:
    """The class of `choice.WINDOWS` that windows of so many tokens belong to."""
    return "small windows" if tokens <= SMALL_WINDOW else "large windows"


class _ByHand(torch.autograd.Function):
    """Both directions walk over (window class, images) boxes, and inside a box over (heads, windows) chunks."""

    @staticmethod
    def forward(ctx, qkv: Tensor, table: Tensor, index: Tensor, s: Tensor | None, w: Windows, keep: bool) -> Tensor:
        out = qkv.new_empty(*qkv.shape[:-1], qkv.shape[-1] // 3)
        bias = _Bias(table, index, w)
        keep, kept = keep and any(ctx.needs_input_grad), []
        with without_autocast(qkv.device):
            for images, cls in _boxes(qkv, w):
                q, k, v = _read(qkv[images], cls, w, 3)
                q, k = _similar(q, k, s, w)
                o = v.new_empty(v.shape)
                P = v.new_empty(*v.shape[:3], v.shape[2]) if keep else None
                for hs in _head_slices(v):
                    b = bias.of(hs, cls)
                    for ws in _window_slices(v):
                        p = None if P is None else P[hs, ws]
                        forward_chunk(q[hs, ws], k[hs, ws], v[hs, ws], b, out=o[hs, ws], P=p)
                kept.append(P)
                _write(out[images], o, cls, w)
        ctx.windows, ctx.has_scale = w, s is not None
        saved = [qkv, table, index] + ([s] if s is not None else []) + (kept if keep else [])
        ctx.save_for_backward(*saved)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):  # type: ignore[override]
        w: Windows = ctx.windows
        qkv, table, index, *rest = ctx.saved_tensors
        s = rest.pop(0) if ctx.has_scale else None
        bias, dqkv = _Bias(table, index, w), torch.empty_like(qkv)
        ds = None if s is None else torch.zeros_like(s)
        grad = grad.to(qkv.dtype)
        with without_autocast(qkv.device):
            for images, cls in _boxes(qkv, w):
                q0, k0, v = _read(qkv[images], cls, w, 3)
                q, k = _similar(q0, k0, s, w)
                (do,) = _read(grad[images], cls, w, 1)
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
                    dq.mul_(w.scale)
                else:
                    d[0], ds_box = _scaled_unit_backward(dq, q0, s)
                    d[1], _ = _scaled_unit_backward(dk, k0, torch.ones_like(s))
                    ds += ds_box
                _write(dqkv[images], d, cls, w)
        return dqkv, bias.table_gradient() if ctx.needs_input_grad[1] else None, None, ds, None, None


class _Bias:
    """The position bias of a few heads at a time, and its gradient; (h, N, N) is whole only where small."""

    def __init__(self, table: Tensor, index: Tensor, w: Windows):
        self.table, self.index, N = table, index, len(index)
        self.wide = torch.promote_types(table.dtype, torch.float32)
        self.whole = self._gather(slice(None)) if w.heads * N * N <= CHUNK else None
        self.dtable: Tensor | None = None
        self.heads, self.pending = slice(0), torch.empty(0)

    def of(self, hs: slice, cls: WindowClass) -> Tensor:
        """Bias of a slice of heads with the mask of a window class: (H, 1, N, N)."""
        bias = self.whole[hs] if self.whole is not None else self._gather(hs)
        return (bias if cls.mask is None else bias + cls.mask)[:, None]

    def add_gradient(self, hs: slice, dbias: Tensor) -> None:
        """Add (H, N, N). The sum over windows is kept until other heads come, and only then goes into the table."""
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
        return gather_bias(self.table[:, hs], self.index).to(self.wide)

    def _flush(self) -> None:
        if self.dtable is None:
            self.dtable = torch.zeros(self.table.shape, dtype=self.wide, device=self.table.device)
        if self.pending.numel():
            index, rows = self.index.reshape(-1), self.pending.flatten(1).T.contiguous()
            # the gradient of the gather; index_add_ does the same thirty times slower
            gathered = torch.ops.aten.embedding_dense_backward(rows, index, len(self.table), -1, False)
            self.dtable[:, self.heads] += gathered


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


def _boxes(qkv: Tensor, w: Windows) -> Iterator[tuple[slice, WindowClass]]:
    """Every window class, a few images at a time: as many as make about one chunk."""
    B, N = qkv.shape[0], math.prod(w.window)
    for cls in window_classes(tuple(qkv.shape[1:-1]), w.window, w.shift, qkv.device):
        step = max(1, CHUNK // (math.prod(cls.windows) * w.heads * N * N))
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


def _similar(q: Tensor, k: Tensor, s: Tensor | None, w: Windows) -> tuple[Tensor, Tensor]:
    """Queries and keys whose product is the similarity: scaled, or unit vectors with the temperature in q."""
    if s is None:
        return q * w.scale, k
    return unit_vectors(q, s[:, None]), unit_vectors(k)


def _scaled_unit_backward(grad: Tensor, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of s * x / |x|: x (h, G, N, D) and s (h, 1, 1) -> dx and ds."""
    inverse = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=grad.dtype).clamp_min_(1e-12).reciprocal_()
    unit = x * inverse
    along = (grad * unit).sum(-1, keepdim=True)
    return grad.addcmul(unit, along, value=-1).mul_(inverse * s[:, None]), along.sum((1, 2, 3)).view(-1, 1, 1)


def _box(grid: Tensor, cls: WindowClass, w: Windows, parts: int) -> Tensor:
    """The windows of one class: (B, *S, parts * h * D) -> (B, n1, w1, n2, w2, ..., parts, h, D), a view off the rim."""
    for axis, runs in enumerate(cls.spans, start=1):
        pieces = [grid.narrow(axis, start, length) for start, length in runs]
        grid = pieces[0] if len(pieces) == 1 else torch.cat(pieces, axis)
    for axis in range(len(w.window), 0, -1):
        grid = grid.unflatten(axis, (cls.windows[axis - 1], w.window[axis - 1]))
    return grid.unflatten(-1, (parts, w.heads, -1))


def _read(grid: Tensor, cls: WindowClass, w: Windows, parts: int) -> Tensor:
    """The windows of one class in the order of matrix products: -> (parts, h, B * nW, N, D), contiguous."""
    n, box = len(w.window), _box(grid, cls, w, parts)
    counts, cells = range(1, 2 * n, 2), range(2, 2 * n + 1, 2)
    box = box.permute(2 * n + 1, 2 * n + 2, 0, *counts, *cells, 2 * n + 3)
    return box.reshape(parts, w.heads, -1, math.prod(w.window), box.shape[-1])


def _read_rows(grid: Tensor, cls: WindowClass, w: Windows) -> Tensor:
    """The same numbers copied token by token, which is faster, for kernels that take strides: (3, h, B * nW, N, D)."""
    n, box = len(w.window), _box(grid, cls, w, 3)
    counts, cells = range(1, 2 * n, 2), range(2, 2 * n + 1, 2)
    box = box.permute(0, *counts, *cells, 2 * n + 1, 2 * n + 2, 2 * n + 3)
    return box.reshape(-1, math.prod(w.window), *box.shape[-3:]).permute(2, 3, 0, 1, 4)


def _write(grid: Tensor, windows: Tensor, cls: WindowClass, w: Windows, hs: slice = slice(None)) -> None:
    """The inverse of `_read`, into some heads of the map: windows (H, B * nW, N, D) or (3, h, B * nW, N, D)."""
    windows = windows if windows.ndim == 5 else windows[None]
    n, (parts, H, _, _, D) = len(w.window), windows.shape
    grid = grid.unflatten(-1, (parts, w.heads, D))[..., hs, :]
    windows = windows.unflatten(3, w.window).unflatten(2, (grid.shape[0], *cls.windows))
    pairs = [axis for i in range(n) for axis in (3 + i, 3 + n + i)]
    windows = windows.permute(2, *pairs, 0, 1, 3 + 2 * n)  # (B, n1, w1, n2, w2, ..., parts, H, D)
    if all(len(runs) == 1 for runs in cls.spans):
        for axis, ((start, length),) in enumerate(cls.spans, start=1):
            grid = grid.narrow(axis, start, length)
        for axis in range(n, 0, -1):
            grid = grid.unflatten(axis, (cls.windows[axis - 1], w.window[axis - 1]))
        grid.copy_(windows)
        return
    box = windows.reshape(grid.shape[0], *[c * w for c, w in zip(cls.windows, w.window)], parts, H, D)
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
