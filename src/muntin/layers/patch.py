"""From pixels to tokens, from one level of tokens to the next coarser one, and convolution of single channels."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from muntin.errors import UserError
from muntin.ops.fast.depthwise import depthwise_conv
from muntin.ops.fast.linear import linear
from muntin.ops.windows import Size, crop_grid, pad_grid, padded_size

from .blocks import Linear

_CONV: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class PatchEmbed(nn.Module):
    """Linear embedding of patches that do not overlap: (B, in_chans, *S) -> (B, *S / patch, dim).

    Pictures whose sides are no multiples of the patch are zero-padded at the right and bottom. The weights have the
    shape of the equivalent convolution, (dim, in_chans, *patch).
    Raises UserError for a picture with other channels, or smaller than one patch.
    """

    def __init__(self, in_chans: int, dim: int, patch: Size, norm: bool):
        super().__init__()
        self.patch = patch
        self.proj: nn.Conv2d = _CONV[len(patch)](in_chans, dim, patch, patch)
        self.norm = nn.LayerNorm(dim) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        check_picture(x, self.proj.in_channels, self.patch)
        x = pad_grid(x.movedim(1, -1), padded_size(tuple(x.shape[2:]), self.patch))
        return self.norm(embed_patches(x, self.proj))


class ConvEmbed(nn.Module):
    """A strided convolution from pixels, or a coarser grid of channels, to tokens: (B, C_in, *S) -> (B, *S', dim).

    Sizes round down, S' = (S + 2 padding - kernel) // stride + 1: pixels at the right and bottom that do not fill a
    step are ignored. norm: of the tokens, built outside; by default there is none.
    Raises UserError for an input with other channels, or one that the kernel does not fit in.
    """

    def __init__(
        self, in_chans: int, dim: int, kernel: Size, stride: Size, padding: Size = (), norm: nn.Module | None = None
    ):
        super().__init__()
        padding = padding or (0,) * len(kernel)
        self.proj: nn.Conv2d = _CONV[len(kernel)](in_chans, dim, kernel, stride, padding)
        self.norm = norm or nn.Identity()
        self._patches = kernel == stride and not any(padding)  # then it is one matrix product
        self._smallest = tuple(k - 2 * p for k, p in zip(kernel, padding))

    def forward(self, x: Tensor) -> Tensor:
        check_picture(x, self.proj.in_channels, self._smallest)
        if not self._patches:
            return self.norm(self.proj(x).movedim(1, -1))
        patch = self.proj.kernel_size
        whole = tuple(s - s % p for s, p in zip(x.shape[2:], patch))
        return self.norm(embed_patches(crop_grid(x.movedim(1, -1), whole), self.proj))


def embed_patches(x: Tensor, proj: nn.Conv2d) -> Tensor:
    """A convolution whose kernels touch without overlap, as one matrix product: (B, *S, C) -> (B, *S / kernel, dim).

    Every side of the channels-last grid must be a multiple of the kernel's.
    """
    n, patch = len(proj.kernel_size), proj.kernel_size
    for axis in range(n, 0, -1):
        x = x.unflatten(axis, (-1, patch[axis - 1]))
    # channels before the cells of a patch, as in the convolution's weight
    cut = x.permute(0, *range(1, 2 * n, 2), 2 * n + 1, *range(2, 2 * n + 1, 2)).flatten(n + 1)
    return linear(cut, proj.weight.flatten(1), proj.bias)


def check_picture(x: Tensor, in_chans: int, smallest: Size) -> None:
    """Raise UserError unless this is a batch of pictures (clips) of so many channels and at least this size."""
    n = len(smallest)
    if x.ndim != n + 2:
        raise UserError(
            f"got an input of shape {tuple(x.shape)}; this model needs (B, {in_chans}, {'T, ' * (n == 3)}H, W)"
        )
    if x.shape[1] != in_chans:
        raise UserError(f"got {x.shape[1]} input channels; this model was built for {in_chans} (in_chans={in_chans})")
    if any(s < p for s, p in zip(x.shape[2:], smallest)):
        size, patch = "x".join(map(str, x.shape[2:])), "x".join(map(str, smallest))
        raise UserError(
            f"the picture of {size} pixels is smaller than one patch of {patch}; enlarge it to at least {patch}"
        )


def merge_neighbours(x: Tensor, cells: Size) -> Tensor:
    """Put the cells of each neighbourhood side by side: (B, *S, C) -> (B, *S / cells, prod(cells) C).

    Sides that do not divide are zero-padded at the far end. Order: the first axis varies fastest, as in the official
    patch merging (nn.Unfold orders channels differently).
    """
    n = len(cells)
    x = pad_grid(x, padded_size(tuple(x.shape[1:-1]), cells))
    for axis in range(n, 0, -1):
        x = x.unflatten(axis, (-1, cells[axis - 1]))
    return x.permute(0, *range(1, 2 * n, 2), *range(2 * n, 0, -2), 2 * n + 1).flatten(n + 1)


class PatchMerging(nn.Module):
    """Neighbours side by side, norm, linear to twice the channels: (B, *S, C) -> (B, *S / cells, 2C).

    cells: how many become one, along each axis; (2, 2) halves height and width.
    """

    def __init__(self, dim: int, cells: Size):
        super().__init__()
        self.cells, merged = cells, math.prod(cells) * dim
        self.norm = nn.LayerNorm(merged)
        self.reduction = Linear(merged, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.reduction(self.norm(merge_neighbours(x, self.cells)))


class DepthwiseConv(nn.Conv2d):
    """A k x k kernel for every channel, k odd: (B, C, H, W) -> (B, C, H, W), sides divided by the stride, rounded up.

    As nn.Conv2d with padding k // 2; trains several times as fast on a CPU (`ops.fast.depthwise`).
    """

    def __init__(self, dim: int, kernel: int, stride: int = 1, bias: bool = True):
        super().__init__(dim, dim, kernel, stride, padding=kernel // 2, groups=dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return depthwise_conv(x, self.weight, self.bias, self.stride[0])


def grid_size(image: tuple[int, ...], patch: tuple[int, ...]) -> tuple[int, ...]:
    """Tokens along each axis for an image size in pixels."""
    return tuple(math.ceil(s / p) for s, p in zip(image, patch))
