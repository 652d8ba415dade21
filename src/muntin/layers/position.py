"""Where a token is: biases of attention logits and embeddings added to tokens."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from muntin.errors import UserError
from muntin.ops.resample import Resample, resize_bias_table, resize_grid
from muntin.ops.windows import Size, relative_position_index


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


class GridEmbedding(nn.Module):
    """Learned embedding of every cell of a grid, added, and resized for other grids: (B, *S, C) -> (B, *S, C)."""

    def __init__(self, grid: Size, dim: int, resample: Resample = "bicubic"):
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(*grid, dim))
        self.resample = resample

    def forward(self, x: Tensor) -> Tensor:
        size, embedding = tuple(x.shape[1:-1]), self.embedding
        return x + (embedding if embedding.shape[:-1] == size else resize_grid(embedding, size, self.resample))

    def no_weight_decay(self) -> set[str]:
        return {"embedding"}
