"""Swin Transformer V2: Scaling Up Capacity and Resolution (Liu et al., 2022, arXiv:2111.09883).

New over Swin:
- residual post-norm (sec. 3.2): `ResPostNormBlock`, and patch merging normalises after its linear map;
- scaled cosine attention (sec. 3.2): a learned temperature a head, no key bias (`QueryValueBias`);
- log-spaced continuous position bias (sec. 3.3): `LogSpacedBias`, so that windows may change size;
- extra norms on the main branch of the largest models (sec. 3.2, H and G).

Everything else is `swin.py`. Sequential self-attention (sec. 3.5) is the attention backend `chunked`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from muntin.errors import UserError
from muntin.layers.attention import QueryValueBias, WindowAttention
from muntin.layers.blocks import DropPath, Linear, Mlp
from muntin.layers.patch import merge_neighbours
from muntin.layers.position import TableBias
from muntin.ops.cached import cached, without_autocast
from muntin.ops.windows import Size, relative_position_index

from .fields import Within
from .swin import Swin, SwinConfig, Window, _shift, check_window, effective_windows, stage_windows


@dataclass(frozen=True, kw_only=True)
class SwinV2Config(SwinConfig):
    """What V2 adds to the table."""

    window: Window | tuple[Window, ...] = (8, 8)
    pretrained_window: tuple[Window, ...] | None = None
    """Windows, one a stage, that set the scale of the log-CPB; None: those in use, as in the official code."""
    frozen_bias: bool = False
    """Whether the position bias is a plain table, see `SwinV2.freeze_position_bias`."""
    extra_norm_period: Annotated[int, Within(0)] = 0
    """A layer norm on the main branch after every so many blocks, 6 in the paper's H and G; 0: none."""
    extra_norm_scope: Literal["stage", "network"] = "stage"
    """Where these blocks are counted from; the paper leaves it open."""


class LogSpacedBias(nn.Module):
    """Position bias from a small MLP on log-spaced offsets (Swin V2, eq. 4).

    window -> (table, index): a row for every offset, (prod(2 * window - 1), h), and the row of each pair of tokens.
    offset -> sign(x) log2(1 + |x|) / log2(8), x = 8 * offset / (w - 1);  bias = 16 * sigmoid(mlp(offset)).

    w is the window the MLP was trained with (`scale_window`): it stays when the window changes, which is what lets
    weights trained at 8 x 8 serve 24 x 24. The 8, the 16 and the sigmoid come from the official code
    (models/swin_transformer_v2.py), not from eq. 4. Always computed in fp32 or wider.
    """

    def __init__(self, scale_window: Size | None, axes: int, heads: int, hidden: int = 512):
        super().__init__()
        self.scale_window = scale_window
        self.fc1 = nn.Linear(axes, hidden)
        self.fc2 = nn.Linear(hidden, heads, bias=False)

    def forward(self, window: Size) -> tuple[Tensor, Tensor]:
        weight, device = self.fc1.weight, self.fc1.weight.device
        wide = torch.promote_types(weight.dtype, torch.float32)
        offsets = log_spaced_offsets(window, self.scale_window or window, wide, device)
        with without_autocast(device):
            hidden = F.linear(offsets, weight.to(wide), self.fc1.bias.to(wide)).relu()
            table = 16 * F.linear(hidden, self.fc2.weight.to(wide)).sigmoid()
        return table, relative_position_index(window, device)

    def no_weight_decay(self) -> set[str]:
        return {name for name, _ in self.named_parameters()}


@cached
def log_spaced_offsets(window: Size, scale_window: Size, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Coordinates of every offset of a window, row offset first: (prod(2 * window - 1), n).

    A side of one token has the offset 0 alone; its coordinate is 0 (the official code divides 0 by 0 there).
    """
    axes = [torch.arange(-(w - 1), w, dtype=torch.float64) / max(1, s - 1) for w, s in zip(window, scale_window)]
    x = 8 * torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)
    return (x.sign() * (1 + x.abs()).log2() / math.log2(8)).to(device, dtype)


class ResPostNormBlock(nn.Module):
    """Residual block whose branch output, not its input, is normalised (V2 fig. 1, right).

    Keeps the main path's amplitude from growing with depth. main_norm: the extra norm of H and G, else an identity.
    (B, *S, C) -> (B, *S, C).
    """

    def __init__(self, dim: int, mix: nn.Module, mlp: nn.Module, drop_path: nn.Module, main_norm: nn.Module):
        super().__init__()
        self.mix, self.norm1 = mix, nn.LayerNorm(dim)
        self.mlp, self.norm2 = mlp, nn.LayerNorm(dim)
        self.drop_path, self.main_norm = drop_path, main_norm

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.norm1(self.mix(x)))
        x = x + self.drop_path(self.norm2(self.mlp(x)))
        return self.main_norm(x)


class PostNormMerging(nn.Module):
    """Patch merging of V2, linear first, then norm: (B, *S, C) -> (B, *S / cells, 2C)."""

    def __init__(self, dim: int, cells: Size):
        super().__init__()
        self.cells = cells
        self.reduction = Linear(math.prod(cells) * dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(2 * dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.reduction(merge_neighbours(x, self.cells)))


class SwinV2(Swin):
    """The backbone; as `Swin`, with V2's blocks."""

    config: SwinV2Config

    def set_window(self, window: Size, trained_image: Size | None = None) -> None:
        """Use another window from now on; the log-CPB keeps the scale it was trained on.

        trained_image: pixels of the training pictures, needed when their coarsest maps were smaller than the window
        (trained at 192 with window 12, the last stage really had window 6). Without it the configured windows count.
        """
        check_window(window, len(self.config.patch))
        self._fix_scale(trained_image)
        self.config = replace(self.config, window=window)
        for stage in self.attentions():
            for block, attention in enumerate(stage):
                attention.window, attention.shift = window, _shift(window, block)

    def set_scale(self, windows: tuple[Size, ...]) -> None:
        """Say which windows, one a stage, the log-CPB was trained with (`config.pretrained_window`)."""
        self._check_not_frozen()
        for stage, window in zip(self.stages, windows, strict=True):
            check_window(window, len(self.config.patch))
            for module in stage.modules():
                if isinstance(module, LogSpacedBias):
                    module.scale_window = window
        self.config = replace(self.config, pretrained_window=windows)

    @torch.no_grad()
    def freeze_position_bias(self, trained_image: Size | None = None) -> None:
        """Put the values of the log-CPB, 16 * sigmoid(mlp), in a plain table that is no longer trained.

        This is for deployment: the numbers stay the same without the network. The table serves the windows in use and
        smaller ones; for another window, take the weights from before. trained_image: as in `set_window`.
        """
        self._fix_scale(trained_image)
        for attention in (a for stage in self.attentions() for a in stage):
            table = TableBias(attention.window, attention.heads)
            table.table = nn.Parameter(attention.position(attention.window)[0], requires_grad=False)
            attention.position = table
        self.config = replace(self.config, window=tuple(stage_windows(self.config)), frozen_bias=True)

    def _fix_scale(self, trained_image: Size | None) -> None:
        """Where no scale is set, set it to the windows that training really used."""
        self._check_not_frozen()
        trained = self.effective_windows(trained_image) if trained_image else stage_windows(self.config)
        self.set_scale(self.config.pretrained_window or tuple(trained))

    def _check_not_frozen(self) -> None:
        if self.config.frozen_bias:
            raise UserError(
                "the position bias of this model is frozen into a table for its window; take the weights from before "
                "it was frozen to use another window"
            )

    def effective_windows(self, image: Size) -> list[Size]:
        """The window that each stage really uses on pictures of this size."""
        return list(effective_windows(self.config, image))

    def initialise(self) -> None:
        """As Swin; then the norms of every block 0 and 0 (each block starts as the identity), temperatures 0.1."""
        super().initialise()
        for module in self.modules():
            if isinstance(module, ResPostNormBlock):
                for norm in (module.norm1, module.norm2):
                    nn.init.zeros_(norm.weight)
                    nn.init.zeros_(norm.bias)
            elif isinstance(module, WindowAttention) and module.logit_scale is not None:
                nn.init.constant_(module.logit_scale, math.log(10))
            elif isinstance(module, QueryValueBias):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.q_bias)
                nn.init.zeros_(module.v_bias)

    def _block(self, stage: int, block: int, drop_path: DropPath) -> nn.Module:
        config, dim, window = self.config, self.channels[stage], stage_windows(self.config)[stage]
        mix = WindowAttention(
            QueryValueBias(dim) if config.qkv_bias else Linear(dim, 3 * dim, bias=False),
            self._position(stage),
            dim=dim,
            heads=config.heads[stage],
            window=window,
            shift=_shift(window, block),
            small_map=config.small_map_rule,
            logit_scale=nn.Parameter(torch.empty(config.heads[stage], 1, 1)),
        )
        count = block + 1 + (sum(config.depths[:stage]) if config.extra_norm_scope == "network" else 0)
        extra = config.extra_norm_period and count % config.extra_norm_period == 0
        main_norm = nn.LayerNorm(dim) if extra else nn.Identity()
        return ResPostNormBlock(dim, mix, Mlp(dim, int(dim * config.mlp_ratio)), drop_path, main_norm)

    def _position(self, stage: int) -> nn.Module:
        config = self.config
        if config.frozen_bias:
            return super()._position(stage).requires_grad_(False)
        scale = config.pretrained_window[stage] if config.pretrained_window else None
        return LogSpacedBias(scale, len(config.patch), config.heads[stage])

    def _merge(self, dim: int) -> nn.Module:
        return PostNormMerging(dim, self.config.merged)


_T = SwinV2Config()
_S = SwinV2Config(depths=(2, 2, 18, 2))
_B = SwinV2Config(dim=128, depths=(2, 2, 18, 2), heads=(4, 8, 16, 32))
_L = SwinV2Config(dim=192, depths=(2, 2, 18, 2), heads=(6, 12, 24, 48))
_H = SwinV2Config(dim=352, depths=(2, 2, 18, 2), heads=(11, 22, 44, 88))
_GIANT = SwinV2Config(dim=448, depths=(2, 2, 18, 2), heads=(14, 28, 56, 112))
_G = SwinV2Config(dim=512, depths=(2, 2, 42, 4), heads=(16, 32, 64, 128))
_FROM_192 = ((12, 12), (12, 12), (12, 12), (6, 6))  # window 12 at 192 pixels: the last map is 6 x 6

VARIANTS = {  # Swin V2, sec. 4.1 and the official configs; giant: the 448-wide model of the SimMIM hub
    "swin_v2_tiny_window8": _T,
    "swin_v2_tiny_window16": replace(_T, window=(16, 16)),
    "swin_v2_small_window8": _S,
    "swin_v2_small_window16": replace(_S, window=(16, 16)),
    "swin_v2_base_window8": _B,
    "swin_v2_base_window16": replace(_B, window=(16, 16)),
    "swin_v2_base_window12": replace(_B, window=(12, 12)),
    "swin_v2_base_window12to16": replace(_B, window=(16, 16), pretrained_window=_FROM_192),
    "swin_v2_base_window12to24": replace(_B, window=(24, 24), pretrained_window=_FROM_192),
    "swin_v2_large_window12": replace(_L, window=(12, 12)),
    "swin_v2_large_window12to16": replace(_L, window=(16, 16), pretrained_window=_FROM_192),
    "swin_v2_large_window12to24": replace(_L, window=(24, 24), pretrained_window=_FROM_192),
    "swin_v2_huge_window12": replace(_H, window=(12, 12)),
    "swin_v2_giant_window12": replace(_GIANT, window=(12, 12)),
    "swin_v2_g_window12": replace(_G, window=(12, 12)),
}
