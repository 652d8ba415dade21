"""From pixels to tokens, and from one level of tokens to the next coarser one."""

from __future__ import annotations

import math

from torch import Tensor, nn

from muntin.errors import UserError
from muntin.ops.grouping import pad_grid, padded_size
from muntin.ops.linear import linear

from .linear import Linear

_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class PatchEmbed(nn.Module):
    """Linear embedding of patches that do not overlap: (B, in_chans, *S) -> (B, *S / patch, dim).

    Pictures whose sides are no multiples of the patch are zero-padded at the right and bottom. The weights have the
    shape of the equivalent convolution, (dim, in_chans, *patch).
    Raises UserError for a picture with other channels, or smaller than one patch.
    """

    def __init__(self, in_chans: int, dim: int, patch: tuple[int, ...], norm: bool):
        super().__init__()
        self.patch = patch
        self.proj: nn.Conv2d = _CONV[len(patch)](in_chans, dim, patch, patch)  # type: ignore[arg-type, assignment]
        self.norm = nn.LayerNorm(dim) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        self._check(x)
        x = pad_grid(x.movedim(1, -1), padded_size(tuple(x.shape[2:]), self.patch))
        return self.norm(linear(self._cut(x), self.proj.weight.flatten(1), self.proj.bias))

    def _cut(self, x: Tensor) -> Tensor:
        """(B, *S, in_chans) -> (B, *S / patch, in_chans * prod(patch)), channels first as in the convolution."""
        n = len(self.patch)
        for axis in range(n, 0, -1):
            x = x.unflatten(axis, (-1, self.patch[axis - 1]))
        return x.permute(0, *range(1, 2 * n, 2), 2 * n + 1, *range(2, 2 * n + 1, 2)).flatten(n + 1)

    def _check(self, x: Tensor) -> None:
        n, in_chans = len(self.patch), self.proj.in_channels
        if x.ndim != n + 2:
            raise UserError(
                f"got an input of shape {tuple(x.shape)}; this model needs (B, {in_chans}, {'T, ' * (n == 3)}H, W)"
            )
        if x.shape[1] != in_chans:
            raise UserError(
                f"got {x.shape[1]} input channels; this model was built for {in_chans} (in_chans={in_chans})"
            )
        if any(s < p for s, p in zip(x.shape[2:], self.patch)):
            size, patch = "x".join(map(str, x.shape[2:])), "x".join(map(str, self.patch))
            raise UserError(
                f"the picture of {size} pixels is smaller than one patch of {patch}; enlarge it to at least {patch}"
            )


def merge_neighbours(x: Tensor) -> Tensor:
    """Put the 2^n cells of each 2 x 2 (x 2) neighbourhood side by side: (B, *S, C) -> (B, *S / 2, 2^n C).

    Odd sides are zero-padded at the far end. Order: the first axis varies fastest, as in the official patch merging
    (nn.Unfold orders channels differently).
    """
    n = x.ndim - 2
    x = pad_grid(x, padded_size(tuple(x.shape[1:-1]), (2,) * n))
    for axis in range(n, 0, -1):
        x = x.unflatten(axis, (-1, 2))
    return x.permute(0, *range(1, 2 * n, 2), *range(2 * n, 0, -2), 2 * n + 1).flatten(n + 1)


class PatchMerging(nn.Module):
    """Halves every axis: neighbours side by side, norm, linear to twice the channels. (B, *S, C) -> (B, *S/2, 2C)."""

    def __init__(self, dim: int, axes: int):
        super().__init__()
        self.norm = nn.LayerNorm(2**axes * dim)
        self.reduction = Linear(2**axes * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.reduction(self.norm(merge_neighbours(x)))


def grid_size(image: tuple[int, ...], patch: tuple[int, ...]) -> tuple[int, ...]:
    """Tokens along each axis for an image size in pixels."""
    return tuple(math.ceil(s / p) for s, p in zip(image, patch))
