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

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from muntin.errors import UserError, unknown
from muntin.layers.attention import WindowAttention
from muntin.layers.blocks import PreNormBlock
from muntin.layers.drop import DropPath, drop_path_ramp
from muntin.layers.init import init_transformer
from muntin.layers.linear import Linear
from muntin.layers.mlp import Mlp
from muntin.layers.patch import PatchEmbed, PatchMerging, grid_size
from muntin.layers.position import GridEmbedding, TableBias
from muntin.ops.grouping import SMALL_MAP_RULES, Size
from muntin.ops.window_attention import BACKENDS, Backend

from .backbone import Features

# far above every model there is: a config may come from a stranger's file, and must not keep a machine busy for hours
LARGEST, MOST_BLOCKS, LARGEST_WINDOW = 1 << 16, 1000, 512


@dataclass(frozen=True, kw_only=True)
class SwinConfig:
    """What the papers' tables vary. Sizes are tuples with one number an axis."""

    patch: Size = (4, 4)  # pixels a token; its length sets the number of axes
    in_chans: int = 3
    dim: int = 96  # channels of the first stage; doubles per stage
    depths: tuple[int, ...] = (2, 2, 6, 2)  # blocks a stage
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: Size | tuple[Size, ...] = (7, 7)  # tokens, for all stages or one window a stage
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    qk_scale: float | None = None  # of the logits; None is D^-0.5
    patch_norm: bool = True
    absolute_position: Size | None = None  # grid of a learned absolute embedding
    small_map: Literal["shrink", "keep"] = "shrink"  # rule of the official classifier, or of the dense backbone


class Swin(nn.Module):
    """The backbone: (B, in_chans, *S) -> levels (B, C_i, *S_i) at strides 4, 8, 16, 32."""

    def __init__(self, config: SwinConfig, drop_path_rate: float = 0.0):
        super().__init__()
        _check(config)
        axes, stages = len(config.patch), len(config.depths)
        self.config = config
        self.channels = tuple(config.dim * 2**i for i in range(stages))
        self.strides = tuple(config.patch[-1] * 2**i for i in range(stages))
        self.embed_dim = config.dim
        self.patch_embed = PatchEmbed(config.in_chans, config.dim, config.patch, config.patch_norm)
        self.absolute_position = (
            GridEmbedding(config.absolute_position, config.dim) if config.absolute_position else None
        )
        rates = drop_path_ramp(drop_path_rate, config.depths)
        self.stages = nn.ModuleList(
            nn.ModuleList(self._block(config, i, j, DropPath(rates[i][j])) for j in range(config.depths[i]))
            for i in range(stages)
        )
        self.merges = nn.ModuleList(self._merge(self.channels[i], axes) for i in range(stages - 1))
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
            x = self.merges[i - 1](x) if i else x
            for block in stage:  # type: ignore[attr-defined]
                x = block(x)
            levels.append(x.movedim(-1, 1))
        return Features(levels)

    def layers(self) -> list[list[nn.Module]]:
        """Embedding, then block after block; a patch merging has the depth of the block before it."""
        groups: list[list[nn.Module]] = [[self.patch_embed]]
        if self.absolute_position is not None:
            groups[0].append(self.absolute_position)
        for i, stage in enumerate(self.stages):
            groups += [[block] for block in stage]  # type: ignore[attr-defined]
            if i < len(self.merges):
                groups[-1].append(self.merges[i])
        return groups

    def attentions(self) -> list[list[WindowAttention]]:
        """The attention of every block, stage by stage."""
        return [[block.mix for block in stage] for stage in self.stages]  # type: ignore[attr-defined]

    def set_attention(self, backend: Backend) -> None:
        """Choose how window attention is computed, see `ops.window_attention`."""
        if backend not in BACKENDS:
            raise UserError(f"unknown attention '{backend}': choose one of {', '.join(BACKENDS)}")
        for stage in self.attentions():
            for attention in stage:
                attention.backend = backend

    def set_window(self, window: Size) -> None:
        """Use another window from now on; the bias tables are resized by bicubic interpolation."""
        check_window(window, len(self.config.patch))
        for stage in self.attentions():
            for block, attention in enumerate(stage):
                attention.window, attention.shift = window, _shift(window, block)
                attention.position.resize_(window)  # type: ignore[operator]

    def initialise(self) -> None:
        """Linear N(0, 0.02), bias 0, norms 1 and 0, tables and absolute embedding N(0, 0.02); convolution: torch's."""
        self.apply(init_transformer)
        self.patch_embed.proj.reset_parameters()
        for module in self.modules():
            if isinstance(module, TableBias):
                nn.init.trunc_normal_(module.table, std=0.02)
            elif isinstance(module, GridEmbedding):
                nn.init.trunc_normal_(module.embedding, std=0.02)

    def _block(self, config: SwinConfig, stage: int, block: int, drop_path: DropPath) -> nn.Module:
        dim, heads, window = self.channels[stage], config.heads[stage], stage_windows(config)[stage]
        mix = WindowAttention(
            Linear(dim, 3 * dim, bias=config.qkv_bias),
            TableBias(window, heads),
            dim=dim,
            heads=heads,
            window=window,
            shift=_shift(window, block),
            small_map=SMALL_MAP_RULES[config.small_map],
            scale=config.qk_scale,
        )
        return PreNormBlock(dim, mix, Mlp(dim, int(dim * config.mlp_ratio)), drop_path)

    def _merge(self, dim: int, axes: int) -> nn.Module:
        return PatchMerging(dim, axes)


def stage_windows(config: SwinConfig) -> list[Size]:
    """The window of every stage, tokens."""
    if config.window and isinstance(config.window[0], tuple):
        return [tuple(w) for w in config.window]  # type: ignore[arg-type]
    return [config.window] * len(config.depths)  # type: ignore[list-item]


def effective_windows(config: SwinConfig, image: Size) -> tuple[Size, ...]:
    """The window that each stage of such a model really uses on pictures of this size, pixels."""
    size, windows = grid_size(image, config.patch), []
    for window in stage_windows(config):
        windows.append(SMALL_MAP_RULES[config.small_map](size, window, (0,) * len(size))[0])
        size = grid_size(size, (2,) * len(size))
    return tuple(windows)


def _shift(window: Size, block: int) -> Size:
    """Every second block of a stage shifts its windows by half."""
    return tuple(w // 2 if block % 2 else 0 for w in window)


def _check(config: SwinConfig) -> None:
    """Raise UserError for a config that no model can have."""
    counts = {"in_chans": (config.in_chans,), "dim": (config.dim,), "depths": config.depths, "heads": config.heads}
    counts |= {"patch": config.patch, "absolute_position": config.absolute_position or (1,)}
    for name, values in counts.items():
        if not isinstance(values, tuple) or not values or not all(type(v) is int and v > 0 for v in values):
            raise UserError(f"{name} is {getattr(config, name)!r}; it needs whole numbers of at least 1")
        if sum(values) > (limit := MOST_BLOCKS if name == "depths" else LARGEST):
            raise UserError(f"{name} is {getattr(config, name)!r}; a model may have {limit:,} in all")
    if not 1 <= len(config.patch) <= 3:
        raise UserError(f"patch {config.patch} has {len(config.patch)} axes; 2 for pictures, 3 for clips")
    if not isinstance(config.mlp_ratio, int | float) or not 1 <= config.dim * config.mlp_ratio <= LARGEST:
        raise UserError(f"mlp_ratio is {config.mlp_ratio!r}; the MLP needs 1 to {LARGEST:,} channels")
    if config.small_map not in SMALL_MAP_RULES:
        raise unknown("small_map", str(config.small_map), SMALL_MAP_RULES)
    stages = len(config.depths)
    if len(config.heads) != stages:
        raise UserError(f"{stages} stages (depths {config.depths}) need {stages} head counts; got heads {config.heads}")
    if not isinstance(config.window, tuple) or len(stage_windows(config)) != stages:
        raise UserError(f"{stages} stages (depths {config.depths}) need one window or {stages}; got {config.window}")
    for window in stage_windows(config):
        check_window(window, len(config.patch))
    for i, heads in enumerate(config.heads):
        if config.dim * 2**i % heads:
            raise UserError(f"stage {i} has {config.dim * 2**i} channels, which {heads} heads do not divide")


def check_window(window: Size, axes: int) -> None:
    """Raise UserError unless this is a window of so many axes."""
    if not isinstance(window, tuple) or len(window) != axes or not all(type(w) is int and w > 0 for w in window):
        raise UserError(f"window {window!r} is no window of {axes} axes: it needs {axes} whole numbers of at least 1")
    if max(window) > LARGEST_WINDOW:
        raise UserError(f"window {window} is larger than {LARGEST_WINDOW} tokens, more than any picture has room for")


VARIANTS = {  # Swin, sec. 3.3 and the official configs
    "swin_tiny": SwinConfig(),
    "swin_tiny_c24": SwinConfig(heads=(4, 8, 16, 32), window=(8, 8)),
    "swin_small": SwinConfig(depths=(2, 2, 18, 2)),
    "swin_base": SwinConfig(dim=128, depths=(2, 2, 18, 2), heads=(4, 8, 16, 32)),
    "swin_base_window12": SwinConfig(dim=128, depths=(2, 2, 18, 2), heads=(4, 8, 16, 32), window=(12, 12)),
    "swin_large": SwinConfig(dim=192, depths=(2, 2, 18, 2), heads=(6, 12, 24, 48)),
    "swin_large_window12": SwinConfig(dim=192, depths=(2, 2, 18, 2), heads=(6, 12, 24, 48), window=(12, 12)),
}
