"""Tokens that stand before those of a grid: class tokens and the like."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from muntin.ops.windows import Size


class PrefixTokens(nn.Module):
    """Learned tokens put before a sequence, each with a position of its own: (B, N, C) -> (B, P + N, C).

    names: one a token, in order; none leaves the sequence as it is. positions: whether they have positions. The tokens
    are (1, C) each. Weight decay leaves all of them out but a distillation token, as in the official DeiT.
    """

    def __init__(self, names: tuple[str, ...], dim: int, positions: bool = True):
        super().__init__()
        self.names = names
        for name in names:
            self.register_parameter(name, nn.Parameter(torch.empty(1, dim)))
        self.position = nn.Parameter(torch.empty(len(names), dim)) if names and positions else None

    def forward(self, x: Tensor) -> Tensor:
        if not self.names:
            return x
        tokens = torch.cat(self.tokens())
        return add_tokens(tokens if self.position is None else tokens + self.position, x)

    def tokens(self) -> list[Tensor]:
        """The tokens themselves, (1, C) each."""
        return [getattr(self, name) for name in self.names]

    def no_weight_decay(self) -> set[str]:
        return {name for name, _ in self.named_parameters()} - {"distillation_token"}


def add_tokens(tokens: Tensor, x: Tensor) -> Tensor:
    """Put the same tokens before every sequence of a batch: (P, C), (B, N, C) -> (B, P + N, C)."""
    return torch.cat((tokens.to(x.dtype).expand(x.shape[0], -1, -1), x), 1)


def split_tokens(x: Tensor, grid: Size) -> tuple[Tensor, Tensor | None]:
    """A sequence as a map and the tokens before it: (B, P + N, C) -> (B, C, *S), and (B, P, C) or None for P = 0."""
    prefix = x.shape[1] - math.prod(grid)
    return x[:, prefix:].mT.unflatten(2, grid), x[:, :prefix] if prefix else None
