"""The hybrid form of ViT (Dosovitskiy et al., 2020, sec. 3.1): its patches are cut from the features of a ResNet.

The ResNet is that of Big Transfer (Kolesnikov et al., 2019, arXiv:1912.11370):
- group norm in place of batch norm;
- convolution kernels standardised whenever they are used (Qiao et al., 2019, arXiv:1903.10520);
- bottleneck units with the norm after the convolution, so that the last norm of a unit can start at zero.

Padding is TensorFlow's "same", more at the far end, as the weights were trained with it. Everything else is `vit.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from muntin.errors import UserError
from muntin.layers.blocks import Series
from muntin.layers.patch import check_picture
from muntin.ops.windows import Size

from .fields import LARGEST, Blocks, PictureSize, Stages
from .vit import ViT, ViTConfig, with_384

GROUPS, EPS = 32, 1e-6  # of every group norm


@dataclass(frozen=True, kw_only=True)
class HybridViTConfig(ViTConfig):
    """What hybrids add to the table."""

    patch: PictureSize = (1, 1)
    """Cells of the stem's features a token, in height and width."""
    stem: Annotated[tuple[Blocks, ...], Stages(fewest=0)] = (3, 4, 9)
    """Units of each stage of the ResNet; (): its root alone."""
    stem_width: int = 64
    """Channels of the root."""


class StdConv(nn.Conv2d):
    """Convolution without bias whose kernel is standardised for each output channel, with "same" padding.

    (B, C_in, H, W) -> (B, C_out, ceil(H / stride), ceil(W / stride)). kernel <- (kernel - mean) / (deviation + 1e-5).
    The 1e-5 is added to the deviation; other libraries add it to the variance, and differ by a little.
    """

    def __init__(self, in_chans: int, out_chans: int, kernel: int, stride: int = 1):
        super().__init__(in_chans, out_chans, kernel, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        deviation, mean = torch.std_mean(self.weight, (1, 2, 3), correction=0, keepdim=True)
        kernel = (self.weight - mean) / (deviation + 1e-5)
        return F.conv2d(pad_same(x, self.kernel_size, self.stride), kernel, None, self.stride)


def pad_same(x: Tensor, kernel: Size, stride: Size, value: float = 0.0) -> Tensor:
    """Pad so that every `stride`-th cell is a window's, an odd cell at the far end: (..., H, W) -> (..., H', W')."""
    padding: list[int] = []
    for side, k, s in zip(x.shape[:-3:-1], kernel[::-1], stride[::-1]):  # from the last axis
        missing = max(0, (-(-side // s) - 1) * s + k - side)
        padding += [missing // 2, missing - missing // 2]
    return F.pad(x, padding, value=value)


class Root(nn.Module):
    """7 x 7 convolution, norm, ReLU and 3 x 3 max-pooling, each half the size: (B, C, H, W) -> (B, width, H/4, W/4)."""

    def __init__(self, in_chans: int, width: int):
        super().__init__()
        self.conv = StdConv(in_chans, width, 7, 2)
        self.norm = nn.GroupNorm(GROUPS, width, EPS)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x)).relu()
        return F.max_pool2d(pad_same(x, (3, 3), (2, 2), -torch.inf), 3, 2)


class Bottleneck(nn.Module):
    """1 x 1, strided 3 x 3 and 1 x 1 convolution, a norm after each, around them a shortcut, projected where its shape
    changes: (B, C_in, H, W) -> (B, 4 * width, H / stride, W / stride).
    """

    def __init__(self, in_chans: int, width: int, stride: int):
        super().__init__()
        out_chans = 4 * width
        self.conv1, self.norm1 = StdConv(in_chans, width, 1), nn.GroupNorm(GROUPS, width, EPS)
        self.conv2, self.norm2 = StdConv(width, width, 3, stride), nn.GroupNorm(GROUPS, width, EPS)
        self.conv3, self.norm3 = StdConv(width, out_chans, 1), nn.GroupNorm(GROUPS, out_chans, EPS)
        self.projects = in_chans != out_chans or stride != 1
        if self.projects:
            self.conv_proj = StdConv(in_chans, out_chans, 1, stride)
            self.norm_proj = nn.GroupNorm(GROUPS, out_chans, EPS)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.norm_proj(self.conv_proj(x)) if self.projects else x
        x = self.norm1(self.conv1(x)).relu()
        x = self.norm2(self.conv2(x)).relu()
        return (shortcut + self.norm3(self.conv3(x))).relu()


class ResNetStem(nn.Module):
    """Root and stages of bottlenecks, each stage after the first half the size: (B, C, H, W) -> (B, C', H/s, W/s)."""

    def __init__(self, in_chans: int, width: int, units: tuple[int, ...]):
        super().__init__()
        self.root = Root(in_chans, width)
        self.channels = width
        self.stages: Series[Series[Bottleneck]] = Series()
        for stage, count in enumerate(units):
            inner = width * 2**stage
            blocks: Series[Bottleneck] = Series()
            for unit in range(count):
                blocks.append(Bottleneck(self.channels, inner, 2 if stage and not unit else 1))
                self.channels = 4 * inner
            self.stages.append(blocks)
        self.stride = 4 * 2 ** max(0, len(units) - 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(self.root(x))


class HybridViT(ViT):
    """The backbone; as `ViT`, behind a ResNet. Its positions and patches count cells of the ResNet's features."""

    config: HybridViTConfig
    stem: Any  # the ResNet, with its `stride`

    def __init__(self, config: HybridViTConfig, drop_path_rate: float = 0.0, dropout: float = 0.0):
        super().__init__(config, drop_path_rate, dropout)
        stride = self.strides[0][0] // config.patch[0]  # of the stem, whose sides round up
        self._smallest = tuple((cells - 1) * stride + 1 for cells in config.patch)

    def embed(self, x: Tensor) -> Tensor:
        check_picture(x, self.config.in_chans, self._smallest)
        return super().embed(x)

    def layers(self) -> list[list[nn.Module]]:
        """As `ViT`; the ResNet has the depth of the embedding."""
        first, *blocks = super().layers()
        return [[self.stem, *first], *blocks]

    @torch.no_grad()
    def initialise(self) -> None:
        """As `ViT`; the last norm of each bottleneck 0 and 0, so that it starts as its shortcut."""
        super().initialise()
        for module in self.modules():
            if isinstance(module, Bottleneck):
                nn.init.zeros_(module.norm3.weight)

    def _check(self) -> None:
        super()._check()
        width, stages = self.config.stem_width, len(self.config.stem)
        if width % GROUPS or width * 4 * 2**stages > LARGEST:
            raise UserError(
                f"stem_width is {width}; it must be a multiple of {GROUPS}, small enough for {stages} stages that each "
                "double it"
            )

    def _stem(self) -> tuple[nn.Module, int, int]:
        stem = ResNetStem(self.config.in_chans, self.config.stem_width, self.config.stem)
        return stem, stem.channels, stem.stride


_AT_224 = {  # official configs; R26 and R50 are BiT's of 26 and 50 layers
    "vit_r_tiny_patch16": HybridViTConfig(patch=(8, 8), grid=(7, 7), dim=192, heads=3, stem=()),
    "vit_r26_small_patch32": HybridViTConfig(grid=(7, 7), dim=384, heads=6, stem=(2, 2, 2, 2)),
    "vit_r26_base_patch32": HybridViTConfig(grid=(7, 7), stem=(2, 2, 2, 2)),
    "vit_r50_base_patch16": HybridViTConfig(grid=(14, 14)),
    "vit_r50_large_patch32": HybridViTConfig(grid=(7, 7), dim=1024, depth=24, heads=16, stem=(3, 4, 6, 3)),
}
VARIANTS: dict[str, HybridViTConfig] = with_384(_AT_224)
