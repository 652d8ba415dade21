"""Swin Transformer (Liu et al., 2021, arXiv:2103.14030).

New over ViT:
- a hierarchy: four stages, patch merging between them (sec. 3.1);
- attention inside local windows (sec. 3.2);
- windows shifted by half in every second block (sec. 3.2);
- a relative position bias for every offset in a window (sec. 3.2, eq. 4).

The official classifier and the official dense backbone treat maps no larger than a window differently; both rules are
named choices of the config (`small_map`). Sizes come from the input: any height and width works.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from torch import Tensor, nn

from muntin.errors import UserError
from muntin.layers.attention import TableBias, WindowAttention
from muntin.layers.blocks import DropPath, Linear, Mlp, PreNormBlock, Series, drop_path_ramp
from muntin.layers.init import init_transformer
from muntin.layers.patch import PatchEmbed, grid_size, merge_neighbours
from muntin.layers.position import GridEmbedding
from muntin.ops.fast.window_attention import BACKENDS, Backend
from muntin.ops.windows import Size, SmallMapRule, keep_window, shrink_to_shorter_side

from .backbone import Features
from .fields import Axes, Blocks, GridSize, Shape, check_branches, check_field, check_fields

Window = Annotated[Size, Axes(longest=512)]
SMALL_MAPS: dict[str, SmallMapRule] = {"shrink": shrink_to_shorter_side, "keep": keep_window}


@dataclass(frozen=True, kw_only=True)
class SwinConfig:
    """What the papers' tables vary. Sizes are tuples with one number an axis."""

    patch: GridSize = (4, 4)
    """Pixels a token, along each axis; pictures have 2 axes, clips 3."""
    in_chans: int = 3
    """Channels of the input."""
    dim: int = 96
    """Channels of the first stage; they double per stage."""
    depths: tuple[Blocks, ...] = (2, 2, 6, 2)
    """Blocks of each stage."""
    heads: tuple[int, ...] = (3, 6, 12, 24)
    """Attention heads of each stage."""
    window: Window | tuple[Window, ...] = (7, 7)
    """Tokens along each axis of a window: one window for all stages, or one a stage."""
    mlp_ratio: float = 4.0
    """Hidden channels of an MLP, as a multiple of its channels."""
    qkv_bias: bool = True
    """Whether the maps to queries, keys and values have biases."""
    qk_scale: float | None = None
    """Factor of the attention logits; None: D^-0.5, for D channels a head."""
    patch_norm: bool = True
    """Whether a layer norm follows the patch embedding."""
    absolute_position: GridSize | None = None
    """Grid of a learned embedding of absolute positions; None: no such embedding."""
    small_map: Literal["shrink", "keep"] = "shrink"
    """What happens to windows on smaller maps: the rule of the official classifier, or of the dense backbone."""

    @property
    def merged(self) -> Size:
        """Cells along each axis that become one between two stages."""
        return (2,) * len(self.patch)

    @property
    def small_map_rule(self) -> SmallMapRule:
        return SMALL_MAPS[self.small_map]


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


class Swin(nn.Module):
    """The backbone: (B, in_chans, *S) -> levels (B, C_i, *S_i) at strides 4, 8, 16, 32."""

    def __init__(self, config: SwinConfig, drop_path_rate: float = 0.0):
        super().__init__()
        check_fields(config)
        stages = len(config.depths)
        self.config = config
        self.channels = tuple(config.dim * 2**i for i in range(stages))
        check_branches(self.channels, config.heads, [config.mlp_ratio] * stages)
        self.strides = tuple(tuple(p * m**i for p, m in zip(config.patch, config.merged)) for i in range(stages))
        self.embed_dim = config.dim
        self.patch_embed = PatchEmbed(config.in_chans, config.dim, config.patch, config.patch_norm)
        self.absolute_position = (
            GridEmbedding(config.absolute_position, config.dim) if config.absolute_position else None
        )
        rates = drop_path_ramp(drop_path_rate, config.depths)
        self.stages: Series[Series[nn.Module]] = Series(
            Series(self._block(i, j, DropPath(rate)) for j, rate in enumerate(rates[i])) for i in range(stages)
        )
        self.merges = nn.ModuleList(self._merge(dim) for dim in self.channels[:-1])
        self.initialise()

    def forward(self, x: Tensor) -> Features:
        return self.encode(self.embed(x))

    def embed(self, x: Tensor) -> Tensor:
        return self.patch_embed(x)

    def encode(self, tokens: Tensor) -> Features:
        x, levels = tokens, []
        if self.absolute_position is not None:
            x = self.absolute_position(x)
        for i, stage in enumerate(self.stages):
            x = stage(self.merges[i - 1](x) if i else x)
            levels.append(x.movedim(-1, 1))
        return Features(levels)

    def stacked(self) -> list[list[nn.Module]]:
        """The blocks of every stage."""
        return [list(stage) for stage in self.stages]

    def looked_at(self) -> list[list[Any]]:
        """The attention of every block."""
        return [list(stage) for stage in self.attentions()]

    def layers(self) -> list[list[nn.Module]]:
        """Embedding, then block after block; a patch merging has the depth of the block before it."""
        groups: list[list[nn.Module]] = [[self.patch_embed]]
        if self.absolute_position is not None:
            groups[0].append(self.absolute_position)
        for i, stage in enumerate(self.stages):
            groups += [[block] for block in stage]
            if i < len(self.merges):
                groups[-1].append(self.merges[i])
        return groups

    def attentions(self) -> list[list[WindowAttention]]:
        """The attention of every block, stage by stage."""
        return [[m for m in stage.modules() if isinstance(m, WindowAttention)] for stage in self.stages]

    def set_attention(self, backend: Backend) -> None:
        """Choose how window attention is computed, see `ops.fast.window_attention`."""
        if backend not in BACKENDS:
            raise UserError(f"unknown attention '{backend}': choose one of {', '.join(BACKENDS)}")
        for stage in self.attentions():
            for attention in stage:
                attention.backend = backend

    def set_window(self, window: Size) -> None:
        """Use another window from now on; the bias tables are resized by bicubic interpolation."""
        check_window(window, len(self.config.patch))
        self.config = replace(self.config, window=window)
        for stage in self.attentions():
            for block, attention in enumerate(stage):
                attention.window, attention.shift = window, _shift(window, block)
        for module in self.modules():
            if isinstance(module, TableBias):
                module.resize_(window)

    def initialise(self) -> None:
        """Linear N(0, 0.02), bias 0, norms 1 and 0, tables and absolute embedding N(0, 0.02); convolution: torch's."""
        self.apply(init_transformer)
        self.patch_embed.proj.reset_parameters()
        for module in self.modules():
            if isinstance(module, TableBias):
                nn.init.trunc_normal_(module.table, std=0.02)
            elif isinstance(module, GridEmbedding):
                nn.init.trunc_normal_(module.embedding, std=0.02)

    def _block(self, stage: int, block: int, drop_path: DropPath) -> nn.Module:
        config, dim, window = self.config, self.channels[stage], stage_windows(self.config)[stage]
        mix = WindowAttention(
            Linear(dim, 3 * dim, bias=config.qkv_bias),
            self._position(stage),
            dim=dim,
            heads=config.heads[stage],
            window=window,
            shift=_shift(window, block),
            small_map=config.small_map_rule,
            scale=config.qk_scale,
        )
        return PreNormBlock(dim, mix, Mlp(dim, int(dim * config.mlp_ratio)), drop_path)

    def _position(self, stage: int) -> nn.Module:
        return TableBias(stage_windows(self.config)[stage], self.config.heads[stage])

    def _merge(self, dim: int) -> nn.Module:
        return PatchMerging(dim, self.config.merged)


def stage_windows(config: SwinConfig) -> list[Size]:
    """The window of every stage, tokens."""
    if config.window and isinstance(config.window[0], tuple):
        return [tuple(w) for w in config.window]  # type: ignore[arg-type]
    return [config.window] * len(config.depths)  # type: ignore[list-item]


def effective_windows(config: SwinConfig, image: Size) -> tuple[Size, ...]:
    """The window that each stage of such a model really uses on pictures of this size, pixels."""
    size, windows = grid_size(image, config.patch), []
    for window in stage_windows(config):
        windows.append(config.small_map_rule(size, window, (0,) * len(size))[0])
        size = grid_size(size, config.merged)
    return tuple(windows)


def _shift(window: Size, block: int) -> Size:
    """Every second block of a stage shifts its windows by half."""
    return tuple(w // 2 if block % 2 else 0 for w in window)


def check_window(window: Size, axes: int) -> None:
    """Raise UserError unless this is a window of so many axes."""
    check_field("window", window, Window, Shape(axes=axes))


VARIANTS = {  # Swin, sec. 3.3 and the official configs
    "swin_tiny": SwinConfig(),
    "swin_tiny_c24": SwinConfig(heads=(4, 8, 16, 32), window=(8, 8)),
    "swin_small": SwinConfig(depths=(2, 2, 18, 2)),
    "swin_base": SwinConfig(dim=128, depths=(2, 2, 18, 2), heads=(4, 8, 16, 32)),
    "swin_base_window12": SwinConfig(dim=128, depths=(2, 2, 18, 2), heads=(4, 8, 16, 32), window=(12, 12)),
    "swin_large": SwinConfig(dim=192, depths=(2, 2, 18, 2), heads=(6, 12, 24, 48)),
    "swin_large_window12": SwinConfig(dim=192, depths=(2, 2, 18, 2), heads=(6, 12, 24, 48), window=(12, 12)),
}
