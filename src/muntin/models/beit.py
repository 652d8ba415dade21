"""BEiT: BERT Pre-Training of Image Transformers (Bao et al., 2021, arXiv:2106.08254), the form of ViT that SimMIM uses.

New over ViT:
- a relative position bias in place of positions added to tokens, with entries for the class token; each block's own,
  or one for all while pre-training (`RelativeBias`);
- queries and values have a bias, keys have none;
- layer scale on both branches (Touvron et al., 2021, arXiv:2103.17239);
- deeper blocks start smaller.

What the paper leaves open is as in SimMIM's copy, models/vision_transformer.py. Any size works: the tables are resized
for pictures of another size. Everything else is `vit.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from muntin.errors import UserError
from muntin.layers.attention import QueryValueBias
from muntin.layers.blocks import DropPath, LayerScale, ScaledPreNormBlock
from muntin.layers.init import init_transformer
from muntin.layers.tokens import PrefixTokens, split_tokens
from muntin.ops.cached import cached
from muntin.ops.resample import Resample, resize_grid
from muntin.ops.windows import Size, gather_bias, relative_position_index

from .backbone import Features
from .vit import EPS, Readouts, ViT, ViTConfig


@dataclass(frozen=True, kw_only=True)
class BEiTConfig(ViTConfig):
    """What BEiT adds to the table, and where its defaults differ. Positions are the bias tables."""

    gelu: Literal["tanh", "erf"] = "erf"
    position_resample: Resample = "bicubic"
    readout: Readouts = "mean_norm"
    shared_bias: bool = False
    """Whether all blocks share one bias table, as in SimMIM's pre-training."""


class RelativeBias(nn.Module):
    """Learned bias of attention logits for every offset between two cells of a grid, and for a class token before them.

    grid -> (table, index): (2H - 1)(2W - 1) + 3 rows, and the row of each pair of tokens, (1 + N, 1 + N). The last
    three rows are class token to cell, cell to class token, and the class token to itself. The table decays, as in the
    official code.
    """

    def __init__(self, grid: Size, heads: int, resample: Resample = "bicubic"):
        super().__init__()
        self.grid, self.resample = grid, resample
        self.table = nn.Parameter(torch.zeros(math.prod(2 * side - 1 for side in grid) + 3, heads))

    def forward(self, grid: Size) -> tuple[Tensor, Tensor]:
        table: Tensor = self.table
        index = index_with_class_token(grid, table.device)
        if grid != self.grid:
            offsets = table[:-3].unflatten(0, [2 * side - 1 for side in self.grid])
            offsets = resize_grid(offsets, tuple(2 * side - 1 for side in grid), self.resample)
            table = torch.cat((offsets.flatten(0, -2), table[-3:]))
        return table, index


@cached
def index_with_class_token(grid: Size, device: torch.device) -> Tensor:
    """Row of the bias table for each (query, key) of a class token and the cells after it: (1 + N, 1 + N), int64."""
    offsets = math.prod([2 * side - 1 for side in grid])
    index = F.pad(relative_position_index(grid, device), (1, 0, 1, 0), value=offsets + 2)
    index[0, 1:], index[1:, 0] = offsets, offsets + 1
    return index


class BiasedBlock(ScaledPreNormBlock):
    """Pre-norm block with layer scale and a position bias of its own: (B, 1 + N, C) and the grid -> (B, 1 + N, C)."""

    def __init__(self, dim: int, mix: nn.Module, mlp: nn.Module, drop_path: nn.Module, eps: float, bias: nn.Module):
        super().__init__(dim, mix, mlp, drop_path, eps)
        self.bias = bias

    def forward(self, x: Tensor, grid: Size) -> Tensor:
        return super().forward(x, gather_bias(*self.bias(grid)))


class BEiT(ViT):
    """The backbone; as `ViT`, with a relative position bias in every block."""

    config: BEiTConfig

    def __init__(self, config: BEiTConfig, drop_path_rate: float = 0.0, dropout: float = 0.0):
        super().__init__(config, drop_path_rate, dropout)
        self.shared_bias = self._bias() if config.shared_bias else None

    def encode(self, tokens: Tensor) -> Features:
        grid = tuple(tokens.shape[1:-1])
        given = grid if self.shared_bias is None else gather_bias(*self.shared_bias(grid))
        x = self.dropout(self.prefix(tokens.flatten(1, -2)))  # (B, 1 + N, C)
        level, prefix = split_tokens(self.blocks(x, given), grid)
        return Features([level], prefix)

    def layers(self) -> list[list[nn.Module]]:
        """As `ViT`, a shared bias first of all.

        The official code counts it to the deepest layer; its recipes never train one with layer decay.
        """
        first, *blocks = super().layers()
        return [[*first, self.shared_bias] if self.shared_bias is not None else first, *blocks]

    @torch.no_grad()
    def initialise(self) -> None:
        """Linear maps, convolution and class token N(0, 0.02), biases and tables 0, norms 1 and 0, layer scale 0.1; the
        last map of both branches of block n, counted from 1, divided by sqrt(2 n).
        """
        self.apply(init_transformer)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, QueryValueBias):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.q_bias)
                nn.init.zeros_(module.v_bias)
            elif isinstance(module, PrefixTokens):
                nn.init.trunc_normal_(module.tokens()[0], std=0.02)
            elif isinstance(module, RelativeBias):
                nn.init.zeros_(module.table)
            elif isinstance(module, LayerScale):
                nn.init.constant_(module.gamma, 0.1)
        for n, block in enumerate(self.blocks, start=1):
            for last in ("mix.proj.weight", "mlp.fc2.weight"):
                block.get_parameter(last).div_(math.sqrt(2 * n))

    def _check(self) -> None:
        super()._check()
        if not self.config.class_token:
            raise UserError("the position bias of a BEiT needs the class token; leave class_token at True")

    def _position(self) -> nn.Module:
        return nn.Identity()

    def _prefix(self) -> PrefixTokens:
        return PrefixTokens(("class_token",), self.config.dim, positions=False)

    def _qkv(self) -> nn.Module:
        return QueryValueBias(self.config.dim)

    def _block(self, drop_path: DropPath, dropout: float) -> nn.Module:
        dim, branches = self.config.dim, self._branches(dropout)
        if self.config.shared_bias:
            return ScaledPreNormBlock(dim, *branches, drop_path, EPS)
        return BiasedBlock(dim, *branches, drop_path, EPS, self._bias())

    def _bias(self) -> RelativeBias:
        return RelativeBias(self.config.grid, self.config.heads, self.config.position_resample)


VARIANTS = {"beit_base": BEiTConfig()}  # SimMIM's fine-tuning config; pre-training sets shared_bias
