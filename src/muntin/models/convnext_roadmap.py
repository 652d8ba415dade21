"""The walk from ResNet to ConvNeXt (ConvNeXt, sec. 2 and appendix C), each step a network that can be built.

One small residual network, and a config with one field for each decision of the paper:
- which share of the blocks each stage has, and how the picture is cut into cells (sec. 2.2, macro design);
- depthwise convolution, and the width that it leaves room for (sec. 2.3, ResNeXt-ify);
- the inverted bottleneck (sec. 2.4), its depthwise convolution moved up, and larger kernels (sec. 2.5);
- GELU, fewer activations, fewer norms, layer norm, downsampling by layers of their own (sec. 2.6, micro design).

The steps are the rows of tables 10 and 11. Where the text leaves something open, we read it so: norm and activation
follow the stem as in ResNet, and its activation goes with the others; a norm follows each projection of a shortcut;
convolutions have biases from the step to layer norm on, before it none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from torch import Tensor, nn

from muntin.errors import UserError
from muntin.layers.blocks import DropPath, LayerScale, Series, drop_path_ramp
from muntin.layers.patch import DepthwiseConv, check_picture

from .backbone import Features
from .fields import LARGEST, Blocks, Within, check_fields

EXPANSION = 4

Share = Literal["all", "one"]


@dataclass(frozen=True, kw_only=True)
class RoadmapConfig:
    """The decisions of the walk, in its order; the defaults are ResNet-50."""

    in_chans: int = 3
    """Channels of the input."""
    depths: tuple[Blocks, ...] = (3, 4, 6, 3)
    """Blocks of each stage."""
    stem: Literal["overlapping", "patchify"] = "overlapping"
    """7 x 7 with stride 2 and max pooling, or 4 x 4 with stride 4."""
    depthwise: bool = False
    """Whether the k x k convolution sees each channel by itself."""
    width: int = 64
    """Channels of the stem, and of a bottleneck of the first stage; they double per stage."""
    block: Literal["bottleneck", "inverted", "depthwise_first"] = "bottleneck"
    """Where a block is wide, and where its k x k convolution stands."""
    kernel: Annotated[int, Within(1, 99)] = 3
    """Side of the convolution that sees neighbours; odd."""
    activation: Literal["relu", "gelu"] = "relu"
    """The function between convolutions."""
    activations: Share = "all"
    """Whether one follows every convolution, or one a block stands before its last."""
    norms: Share = "all"
    """Whether one follows every convolution, or one a block its first."""
    norm: Literal["batch", "layer"] = "batch"
    """Batch norm or layer norm."""
    downsampling: Literal["in_blocks", "separate", "separate_normed"] = "in_blocks"
    """By the first block of a stage, or before it; normed: with its own norms."""
    layer_scale: float = 0.0
    """First value of the scale of each branch; 0: branches have no scale."""


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of a map: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, dim: int):
        super().__init__(dim, 1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


NORMS: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm2d, "layer": ChannelNorm}
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}


class ResidualBlock(nn.Module):
    """Three convolutions on a branch, norms and activations where the step has them: (B, C, H, W) -> (B, C', H', W').

    norms: after each convolution. activations: after the first, the second, and the sum. Parts that a step does
    not have are nn.Identity, in branch and shortcut alike.
    """

    def __init__(
        self,
        convs: Sequence[nn.Conv2d],
        norms: Sequence[nn.Module],
        activations: Sequence[nn.Module],
        shortcut: nn.Module,
        scale: nn.Module,
        drop_path: nn.Module,
    ):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = convs
        self.norm1, self.norm2, self.norm3 = norms
        self.activation1, self.activation2, self.activation3 = activations
        self.shortcut, self.scale, self.drop_path = shortcut, scale, drop_path

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation1(self.norm1(self.conv1(x)))
        y = self.activation2(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        return self.activation3(self.shortcut(x) + self.drop_path(self.scale(y)))


class Roadmap(nn.Module):
    """The backbone of one step: (B, in_chans, H, W) -> levels (B, C_i, H_i, W_i) at strides 4, 8, 16, 32.

    Readout: mean, linear; with `separate_normed` downsampling mean, norm (eps 1e-6), linear.
    """

    def __init__(self, config: RoadmapConfig, drop_path_rate: float = 0.0):
        super().__init__()
        _check(config)
        self.config = config
        stages = len(config.depths)
        widths = [config.width * 2**i for i in range(stages)]
        self.channels = tuple(w * (EXPANSION if config.block == "bottleneck" else 1) for w in widths)
        self.strides = tuple((4 * 2**i,) * 2 for i in range(stages))
        self.embed_dim = config.width  # a bottleneck widens it
        separate = config.downsampling != "in_blocks"
        self._smallest = self.strides[-1] if separate else (4, 4) if config.stem == "patchify" else (1, 1)
        self.stem = self._stem()
        self.downsamples = nn.ModuleList(self._downsample(*dims) for dims in zip(self.channels, widths[1:]) if separate)
        self.stages: Series[Series[ResidualBlock]] = Series()
        dim = config.width
        for i, rates in enumerate(drop_path_ramp(drop_path_rate, config.depths)):
            dim, stride = (widths[i], 1) if separate else (dim, 2 if i else 1)
            blocks: Series[ResidualBlock] = Series()
            for rate in rates:
                blocks.append(self._block(dim, widths[i], self.channels[i], stride, DropPath(rate)))
                dim, stride = self.channels[i], 1
            self.stages.append(blocks)
        self.initialise()

    def forward(self, x: Tensor) -> Features:
        return self.encode(self.embed(x))

    def embed(self, x: Tensor) -> Tensor:
        check_picture(x, self.config.in_chans, self._smallest)
        return self.stem(x).movedim(1, -1)

    def encode(self, tokens: Tensor) -> Features:
        x, levels = tokens.movedim(-1, 1), []
        for i, stage in enumerate(self.stages):
            x = stage(self.downsamples[i - 1](x) if i and len(self.downsamples) else x)
            levels.append(x)
        return Features(levels)

    def stacked(self) -> list[list[nn.Module]]:
        """The blocks of every stage."""
        return [list(stage) for stage in self.stages]

    def looked_at(self) -> list[list[Any]]:
        """[]: it has no attention."""
        return []

    def layers(self) -> list[list[nn.Module]]:
        """Stem, then block after block; downsampling has the depth of the block after it."""
        groups: list[list[nn.Module]] = [[self.stem]]
        for i, stage in enumerate(self.stages):
            blocks: list[list[nn.Module]] = [[block] for block in stage]
            if i and len(self.downsamples):
                blocks[0].insert(0, self.downsamples[i - 1])
            groups += blocks
        return groups

    def initialise(self) -> None:
        """As ConvNeXt in every step: convolutions N(0, 0.02), biases 0, norms 1 and 0, scales `layer_scale`."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
                module.reset_parameters()
            elif isinstance(module, LayerScale):
                nn.init.constant_(module.gamma, self.config.layer_scale)

    # --- the parts of a step -----------------------------------------------------------------------------------------

    def _stem(self) -> nn.Sequential:
        overlapping = self.config.stem == "overlapping"
        kernel, stride, padding = (7, 2, 3) if overlapping else (4, 4, 0)
        conv = nn.Conv2d(self.config.in_chans, self.config.width, kernel, stride, padding, bias=self._bias)
        pool = [nn.MaxPool2d(3, 2, 1)] if overlapping else []
        return nn.Sequential(conv, self._norm(self.config.width), self._activation(self.config.activations), *pool)

    def _downsample(self, in_dim: int, dim: int) -> nn.Sequential:
        normed = self.config.downsampling == "separate_normed"
        return nn.Sequential(self._norm(in_dim) if normed else nn.Identity(), nn.Conv2d(in_dim, dim, 2, 2))

    def _block(self, in_dim: int, width: int, dim: int, stride: int, drop_path: DropPath) -> ResidualBlock:
        all_normed = self.config.norms == "all"
        convs = self._convolutions(in_dim, width, dim, stride)
        norms = [
            self._norm(conv.out_channels) if all_normed or i == 0 else nn.Identity() for i, conv in enumerate(convs)
        ]
        activations = [self._activation(self.config.activations, always=i == 1) for i in range(3)]
        shortcut: nn.Module = nn.Identity()
        if (in_dim, stride) != (dim, 1):
            shortcut = nn.Sequential(nn.Conv2d(in_dim, dim, 1, stride, bias=self._bias), self._norm(dim))
        scale = LayerScale2d(dim) if self.config.layer_scale else nn.Identity()
        return ResidualBlock(convs, norms, activations, shortcut, scale, drop_path)

    def _convolutions(self, in_dim: int, width: int, dim: int, stride: int) -> list[nn.Conv2d]:
        """Narrow and wide as the block's shape has it (fig. 3); the stride is where neighbours are seen."""
        if self.config.block == "bottleneck":
            return [self._conv1x1(in_dim, width), self._conv(width, stride), self._conv1x1(width, dim)]
        wide = EXPANSION * dim
        if self.config.block == "inverted":
            return [self._conv1x1(in_dim, wide), self._conv(wide, stride), self._conv1x1(wide, dim)]
        return [self._conv(in_dim, stride), self._conv1x1(in_dim, wide), self._conv1x1(wide, dim)]

    def _conv(self, dim: int, stride: int) -> nn.Conv2d:
        kernel = self.config.kernel
        if self.config.depthwise:
            return DepthwiseConv(dim, kernel, stride, bias=self._bias)
        return nn.Conv2d(dim, dim, kernel, stride, kernel // 2, bias=self._bias)

    def _conv1x1(self, in_dim: int, dim: int) -> nn.Conv2d:
        return nn.Conv2d(in_dim, dim, 1, bias=self._bias)

    def _norm(self, dim: int) -> nn.Module:
        return NORMS[self.config.norm](dim)

    def _activation(self, share: Share, always: bool = False) -> nn.Module:
        return ACTIVATIONS[self.config.activation]() if share == "all" or always else nn.Identity()

    @property
    def _bias(self) -> bool:
        """Whether convolutions have biases; a batch norm after them would cancel these."""
        return self.config.norm == "layer"


class LayerScale2d(LayerScale):
    """Layer scale of a map: (B, C, H, W) -> (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma[:, None, None]


def _check(config: RoadmapConfig) -> None:
    """Raise UserError for a config that no model can have."""
    check_fields(config)
    if config.width * 2 ** len(config.depths) > LARGEST:
        raise UserError(f"width {config.width}, doubled for each of depths {config.depths}, is more than {LARGEST:,}")
    if config.kernel % 2 == 0:
        raise UserError(f"kernel is {config.kernel}; it must be an odd number, so that padding keeps the map's size")
    if config.downsampling != "in_blocks" and config.block == "bottleneck":
        raise UserError("a bottleneck widens in its first block; separate downsampling needs an inverted block")


# --- the steps -------------------------------------------------------------------------------------------------------

RESNET_200 = RoadmapConfig(depths=(3, 24, 36, 3))
_MACRO: Mapping[str, Mapping[str, Any]] = {  # table 10: step -> what changes
    "00": {},  # ResNet-50
    "01": {},  # the recipe
    "02": {"depths": (3, 3, 9, 3)},
    "03": {"stem": "patchify"},
    "04": {"depthwise": True},
    "05": {"width": 96},
}
_MACRO_200 = {**_MACRO, "02": {"depths": (3, 3, 27, 3), "width": 84}, "05": {"width": 128}}  # table 11
_MICRO: Mapping[str, Mapping[str, Any]] = {
    "06": {"block": "inverted"},
    "07": {"block": "depthwise_first"},
    "08a": {"kernel": 5},
    "08c": {"kernel": 9},
    "08d": {"kernel": 11},
    "08b": {"kernel": 7},  # the one that is carried on
    "09": {"activation": "gelu"},
    "10": {"activations": "one"},
    "11": {"norms": "one"},
    "12": {"norm": "layer"},
    "13_no_norms": {"downsampling": "separate"},  # diverges, says the paper: for teaching
    "13": {"downsampling": "separate_normed", "layer_scale": 1e-6},  # ConvNeXt
}


def _walk(name: str, start: RoadmapConfig, steps: Mapping[str, Mapping[str, Any]]) -> dict[str, RoadmapConfig]:
    """The steps of the walk: each is the one before it, with what changes."""
    found, config = {}, start
    for step, changes in steps.items():
        config = replace(config, **changes)
        found[f"{name}_{step}"] = config
    return dict(sorted(found.items()))


VARIANTS = {
    **_walk("convnext_roadmap", RoadmapConfig(), {**_MACRO, **_MICRO}),
    **_walk("convnext_roadmap_b", RESNET_200, {**_MACRO_200, **_MICRO}),
}
