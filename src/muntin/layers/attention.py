"""Modules that make queries, keys and values for the attention functions of `ops`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from muntin.errors import UserError
from muntin.ops.attention import attend, probabilities
from muntin.ops.fast.linear import linear
from muntin.ops.fast.window_attention import Backend, fast_window_attention
from muntin.ops.resample import resize_bias_table
from muntin.ops.windows import (
    Size,
    SmallMapRule,
    Windows,
    crop_grid,
    gather_bias,
    merge,
    pad_grid,
    padded_size,
    partition,
    relative_position_index,
    roll,
    window_probabilities,
)

from .blocks import Linear

PlainBackend = Literal["auto", "reference", "sdpa"]  # for attention of all tokens, see `ops.attention.attend`
PLAIN_BACKENDS: tuple[PlainBackend, ...] = ("auto", "reference", "sdpa")


def choose_attention(stages: Iterable[Iterable[Any]], backend: PlainBackend) -> None:
    """Set how each of these attentions is computed. Raises UserError for an unknown backend."""
    if backend not in PLAIN_BACKENDS:
        raise UserError(f"unknown attention '{backend}': choose one of {', '.join(PLAIN_BACKENDS)}")
    for attention in (attention for stage in stages for attention in stage):
        attention.backend = backend


class QueryValueBias(nn.Module):
    """Linear map to queries, keys and values without a key bias: (..., C) -> (..., 3C)."""

    def __init__(self, dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.q_bias = nn.Parameter(torch.empty(dim))
        self.v_bias = nn.Parameter(torch.empty(dim))

    @property
    def bias(self) -> Tensor:
        """The bias as one vector (3C,), zero for the keys."""
        return torch.cat((self.q_bias, torch.zeros_like(self.v_bias), self.v_bias))

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class Attention(nn.Module):
    """Multi-head attention of all tokens with all: (B, N, C) -> (B, N, C).

    qkv: a linear map C -> 3C, each of the three head by head. Similarity is the dot product times D^-0.5. forward's
    bias is added to the logits; it broadcasts to (B, h, N, N). dropout: rate after the output projection.
    """

    def __init__(self, qkv: nn.Module, *, dim: int, heads: int, dropout: float = 0.0):
        super().__init__()
        self.heads = heads
        self.backend: PlainBackend = "auto"
        self.qkv, self.proj, self.dropout = qkv, Linear(dim, dim), nn.Dropout(dropout)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        q, k, v = self._heads(x)
        out = attend(q, k, v, bias, self.backend)
        return self.dropout(self.proj(out.transpose(1, 2).flatten(-2)))

    @torch.no_grad()
    def attention_map(self, x: Tensor, query: int, bias: Tensor | None = None) -> Tensor:
        """Attention that the token number `query` pays to every token: (B, N, C) -> (B, h, N)."""
        q, k, _ = self._heads(x)
        return probabilities(q[:, :, query : query + 1], k, None if bias is None else bias[..., query : query + 1, :])[
            :, :, 0
        ]

    def layout(self, size: Size) -> tuple[Size, Size]:
        """Window and shift on a grid of this size: one window of all."""
        return size, (0,) * len(size)

    def paid_by(self, cell: Size, size: Size, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attention that the query at `cell` of a grid pays to each cell of it: (1, P + N, C) -> (h, *S)."""
        prefix = x.shape[1] - math.prod(size)  # tokens before the cells
        token = prefix + int(torch.arange(math.prod(size)).view(size)[cell])
        return self.attention_map(x, token, bias)[0, :, prefix:].unflatten(-1, size)

    def bias_by_offset(self) -> None:
        """There is no position bias of windows."""

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled queries, keys and values: (B, N, C) -> (B, h, N, D) each."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return q * q.shape[-1] ** -0.5, k, v

    def extra_repr(self) -> str:
        return f"heads={self.heads}"


class CrossAttention(nn.Module):
    """Multi-head attention of one sequence's tokens to another's: (B, N, C), (B, M, C') -> (B, N, C).

    Linear maps, head by head: q from the one, C -> h * D; kv from the other, C' -> 2 * h * D; proj, h * D -> C.
    Similarity, bias (which broadcasts to (B, h, N, M)) and dropout are as in `Attention`.
    """

    def __init__(self, q: nn.Module, kv: nn.Module, proj: nn.Module, *, heads: int, dropout: float = 0.0):
        super().__init__()
        self.heads = heads
        self.backend: PlainBackend = "auto"
        self.q, self.kv, self.proj, self.dropout = q, kv, proj, nn.Dropout(dropout)

    def forward(self, x: Tensor, other: Tensor, bias: Tensor | None = None) -> Tensor:
        q = self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, h, N, D)
        k, v = self.kv(other).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)  # (B, h, M, D)
        out = attend(q * q.shape[-1] ** -0.5, k, v, bias, self.backend)
        return self.dropout(self.proj(out.transpose(1, 2).flatten(-2)))

    def extra_repr(self) -> str:
        return f"heads={self.heads}"


class WindowAttention(nn.Module):
    """Multi-head attention inside (shifted) windows of a grid, see `ops.windows`: (B, *S, C) -> (B, *S, C).

    Its parts are made by whoever builds it. qkv: a linear map C -> 3C with a `bias` (or None). position: a module that
    maps a window to (table, index), the rows (rows, h) of the position bias and which row each pair of tokens reads,
    (N, N). Dot-product similarity with `scale` (default D^-0.5), or the scaled cosine of Swin V2 where a `logit_scale`
    (h, 1, 1) is given. small_map: what happens to windows on maps no larger than them.
    `window`, `shift` and `backend` may be changed at any time.
    """

    qkv: Any  # a linear map with a `bias`, or None for it

    def __init__(
        self,
        qkv: nn.Linear | QueryValueBias,
        position: nn.Module,
        *,
        dim: int,
        heads: int,
        window: Size,
        shift: Size,
        small_map: SmallMapRule,
        scale: float | None = None,
        logit_scale: nn.Parameter | None = None,
    ):
        super().__init__()
        self.heads, self.window, self.shift, self.small_map = heads, window, shift, small_map
        self.scale = (dim // heads) ** -0.5 if scale is None else scale
        self.backend: Backend = "auto"
        self.qkv, self.position, self.logit_scale = qkv, position, logit_scale
        self.proj = Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        windows = self.windows(tuple(x.shape[1:-1]))
        table, index = self.position(windows.window)
        scale, bias = self.logit_scale, self.qkv.bias
        out = fast_window_attention(
            self.qkv(x), table, index, windows, logit_scale=scale, qkv_bias=bias, backend=self.backend
        )
        return self.proj(out)

    def windows(self, size: Size) -> Windows:
        """The windows on a map of this size, which the small-map rule may shrink."""
        window, shift = self.small_map(size, self.window, self.shift)
        return Windows(window, shift, self.heads, self.scale)

    def position_bias(self, window: Size | None = None) -> Tensor:
        """Bias of every pair of tokens of a window (default: the module's own): (h, N, N)."""
        return gather_bias(*self.position(window or self.window))

    @torch.no_grad()
    def attention_map(self, x: Tensor, cell: Size) -> Tensor:
        """Attention that the query at `cell` pays to every cell of the map: (B, *S, C) -> (B, h, *S).

        Zero outside the query's window. A shifted window is drawn where it lies in the picture.
        """
        size = tuple(x.shape[1:-1])
        windows = self.windows(size)
        window, shift, *_ = windows
        padded = padded_size(size, window)
        is_query = torch.zeros(1, *size, 1, device=x.device)
        is_query[(0, *cell, 0)] = 1
        at = roll(pad_grid(is_query, padded), tuple(-d for d in shift))
        table, index = self.position(window)
        P = window_probabilities(  # (B, nW, h, N, N)
            self.qkv(x), table, index, windows, logit_scale=self.logit_scale, qkv_bias=self.qkv.bias
        )
        B, nW, h, N, _ = P.shape
        rows = partition(at, window).view(1, nW, 1, N, 1)
        paid = (P * rows).sum(-2)  # (B, nW, h, N): the query's row in its window, zero elsewhere
        grid = merge(paid.transpose(-2, -1).reshape(B * nW, N, h), window, padded)
        return crop_grid(roll(grid, shift), size).movedim(-1, 1)

    def layout(self, size: Size) -> tuple[Size, Size]:
        """Window and shift on a grid of this size."""
        windows = self.windows(size)
        return windows.window, windows.shift

    def paid_by(self, cell: Size, size: Size, x: Tensor) -> Tensor:
        """Attention that the query at `cell` of a grid pays to each cell of it: (1, *S, C) -> (h, *S)."""
        return self.attention_map(x, cell)[0]

    def bias_by_offset(self) -> Tensor:
        """The position bias of the module's own window for every offset, key minus query: (h, *(2 * window - 1))."""
        bias, window = self.position_bias(), self.window
        index = relative_position_index(window, bias.device)  # of query minus key
        table = bias.new_zeros(len(bias), math.prod(2 * w - 1 for w in window))
        table[:, index.flatten()] = bias.flatten(1)
        return table.view(-1, *[2 * w - 1 for w in window]).flip(*range(1, len(window) + 1))

    def no_weight_decay(self) -> set[str]:
        return {"logit_scale"} if self.logit_scale is not None else set()

    def extra_repr(self) -> str:
        return f"heads={self.heads}, window={self.window}, shift={self.shift}"


class TableBias(nn.Module):
    """Learned bias for every offset inside a window (Swin, sec. 3.2).

    window -> (table, index): a row for every offset, (prod(2 * window - 1), h), and the row of each pair of tokens,
    (N, N). A smaller window, which small maps ask for, takes the offsets it needs. A larger one has no learned values:
    use `resize_` first.
    """

    def __init__(self, window: Size, heads: int):
        super().__init__()
        self.window = window
        self.table = nn.Parameter(torch.empty(math.prod(2 * w - 1 for w in window), heads))

    def forward(self, window: Size) -> tuple[Tensor, Tensor]:
        index = relative_position_index(window, self.table.device)
        if window == self.window:
            return self.table, index
        if any(w > own for w, own in zip(window, self.window)):
            raise UserError(f"the bias table was made for window {self.window}; resize it before using window {window}")
        table = self.table.unflatten(0, [2 * w - 1 for w in self.window])
        for axis, (w, own) in enumerate(zip(window, self.window)):
            table = table.narrow(axis, own - w, 2 * w - 1)
        return table.flatten(0, len(window) - 1), index

    @torch.no_grad()
    def resize_(self, window: Size) -> None:
        """Make the table one of another window, by bicubic interpolation (the official rule for Swin).

        The parameter stays the same object, with another shape: resize before the optimizer has made its state.
        """
        self.table.data = resize_bias_table(self.table, self.window, window)
        self.window = window

    def no_weight_decay(self) -> set[str]:
        return {"table"}
