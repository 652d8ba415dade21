"""PoolFormer (Yu et al., 2021, arXiv:2111.11418): a transformer whose tokens are mixed by pooling alone.

Never registered anywhere: the questions that every model is asked are asked of it too.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from muntin.layers.blocks import DropPath, Mlp, PreNormBlock, drop_path_ramp
from muntin.layers.init import init_transformer
from muntin.layers.patch import ConvEmbed
from muntin.models import Features
from muntin.models.fields import Blocks, check_fields


@dataclass(frozen=True, kw_only=True)
class PoolFormerConfig:
    """What the paper's table 1 varies."""

    in_chans: int = 3
    """Channels of the input."""
    dims: tuple[int, ...] = (16, 32)
    """Channels of each stage."""
    depths: tuple[Blocks, ...] = (2, 1)
    """Blocks of each stage."""


class Pooling(nn.Module):
    """The mean of the 3 x 3 cells around each cell, less the cell itself: (B, H, W, C) -> (B, H, W, C) (eq. 4)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x.movedim(-1, 1), 3, 1, 1, count_include_pad=False).movedim(1, -1) - x


class PoolFormer(nn.Module):
    """The backbone: (B, in_chans, H, W) -> levels (B, C_i, H_i, W_i) at strides 4, 8, ..."""

    def __init__(self, config: PoolFormerConfig, drop_path_rate: float = 0.0):
        super().__init__()
        check_fields(config)
        self.config, self.channels, self.embed_dim = config, config.dims, config.dims[0]
        self.strides = tuple((4 * 2**i,) * 2 for i in range(len(config.dims)))
        patches = [(4, 4)] + [(2, 2)] * (len(config.dims) - 1)
        inputs = (config.in_chans, *config.dims)
        self.embeds = nn.ModuleList(ConvEmbed(i, dim, p, p) for i, dim, p in zip(inputs, config.dims, patches))
        self.stages = nn.ModuleList(
            nn.ModuleList(PreNormBlock(dim, Pooling(), Mlp(dim, 4 * dim), DropPath(rate)) for rate in rates)
            for dim, rates in zip(config.dims, drop_path_ramp(drop_path_rate, config.depths))
        )
        self.initialise()

    def forward(self, x: Tensor) -> Features:
        return self.encode(self.embed(x))

    def embed(self, x: Tensor) -> Tensor:
        return self.embeds[0](x)

    def encode(self, tokens: Tensor) -> Features:
        x, levels = tokens, []
        for i, stage in enumerate(self.stages):
            x = self.embeds[i](x.movedim(-1, 1)) if i else x
            for block in stage:
                x = block(x)
            levels.append(x.movedim(-1, 1))
        return Features(levels)

    def stacked(self) -> list[list[nn.Module]]:
        return [list(stage) for stage in self.stages]

    def looked_at(self) -> list:
        return []

    def layers(self) -> list[list[nn.Module]]:
        """Each embedding, then the blocks of its stage."""
        return [[m] for embed, stage in zip(self.embeds, self.stages) for m in (embed, *stage)]

    def initialise(self) -> None:
        """Linear maps N(0, 0.02), biases 0, norms 1 and 0; convolutions keep PyTorch's default."""
        self.apply(init_transformer)
        for embed in self.embeds:
            embed.proj.reset_parameters()
