"""Where a token is: embeddings added to tokens. (Biases of attention logits stand in `attention.py`.)"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from muntin.ops.resample import Resample, resize_grid
from muntin.ops.windows import Size


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
