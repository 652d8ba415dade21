"""DeiT: Training data-efficient image transformers & distillation through attention (Touvron et al., 2020,
arXiv:2012.12877), and DeiT III: Revenge of the ViT (Touvron et al., 2022, arXiv:2204.07118).

New over ViT:
- a distillation token beside the class token, with a position and a classifier of its own, for what a teacher says
  (heads/readout.py, tasks/distillation.py);
- initialisation N(0, 0.02), the exact GELU, positions resized bicubically (models.py, main.py);
- DeiT III: learned scales of the branches, and positions for patches alone (models_v2.py).

Everything else is `vit.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from muntin.errors import UserError
from muntin.layers.blocks import DropPath, LayerScale, ScaledPreNormBlock
from muntin.layers.init import init_transformer
from muntin.layers.position import GridEmbedding
from muntin.layers.tokens import PrefixTokens
from muntin.ops.resample import Resample

from .vit import EPS, ViT, ViTConfig


@dataclass(frozen=True, kw_only=True)
class DeiTConfig(ViTConfig):
    """What DeiT adds to the table, and where its defaults differ."""

    gelu: Literal["tanh", "erf"] = "erf"
    position_resample: Resample = "bicubic"
    distilled: bool = False
    """Whether there is a distillation token, with a classifier of its own."""


@dataclass(frozen=True, kw_only=True)
class DeiT3Config(ViTConfig):
    """Where DeiT III's defaults differ from ViT's."""

    gelu: Literal["tanh", "erf"] = "erf"
    position_resample: Resample = "bicubic"


class DeiT(ViT):
    """The backbone; as `ViT`, with the distillation token second in the prefix where there is one."""

    config: DeiTConfig

    def initialise(self) -> None:
        """Linear maps, tokens and positions N(0, 0.02), biases 0, norms 1 and 0; convolution: torch's."""
        initialise_narrow(self)

    def _check(self) -> None:
        super()._check()
        if self.config.distilled and self.config.readout != "token":
            raise UserError(
                f"a distilled model is read from its two tokens, not by '{self.config.readout}'; set readout to "
                "'token', or distilled to False"
            )
        if self.config.distilled and self.config.representation:
            raise UserError("a distilled model has no representation layer; set representation to 0")

    def _prefix(self) -> PrefixTokens:
        if not self.config.distilled:
            return super()._prefix()
        return PrefixTokens(("class_token", "distillation_token"), self.config.dim)


class DeiT3(ViT):
    """The backbone; as `ViT`, with layer scale, one drop path rate, and a class token without a position."""

    config: DeiT3Config

    def initialise(self) -> None:
        """As `DeiT`; layer scale 1e-4."""
        initialise_narrow(self)
        for module in self.modules():
            if isinstance(module, LayerScale):
                nn.init.constant_(module.gamma, 1e-4)

    def _drop_path_rates(self, rate: float) -> list[float]:
        return [rate] * self.config.depth

    def _prefix(self) -> PrefixTokens:
        names = ("class_token",) if self.config.class_token else ()
        return PrefixTokens(names, self.config.dim, positions=False)

    def _block(self, drop_path: DropPath, dropout: float) -> nn.Module:
        return ScaledPreNormBlock(self.config.dim, *self._branches(dropout), drop_path, EPS)


@torch.no_grad()
def initialise_narrow(model: ViT) -> None:
    """Linear maps, tokens and positions N(0, 0.02), biases 0, norms 1 and 0; the convolution keeps torch's default."""
    model.apply(init_transformer)
    model.patch_embed.proj.reset_parameters()
    for module in model.modules():
        if isinstance(module, PrefixTokens):
            for parameter in module.parameters():
                nn.init.trunc_normal_(parameter, std=0.02)
        elif isinstance(module, GridEmbedding):
            nn.init.trunc_normal_(module.embedding, std=0.02)


VARIANTS = {  # table 1, the same with a distillation token, models_v2.py; positions of pictures of 224 and 384 pixels
    "deit_tiny": DeiTConfig(dim=192, heads=3),
    "deit_small": DeiTConfig(dim=384, heads=6),
    "deit_base": DeiTConfig(),
    "deit_tiny_distilled": DeiTConfig(dim=192, heads=3, distilled=True),
    "deit_small_distilled": DeiTConfig(dim=384, heads=6, distilled=True),
    "deit_base_distilled": DeiTConfig(distilled=True),
    "deit_base_384": DeiTConfig(grid=(24, 24)),
    "deit_base_distilled_384": DeiTConfig(grid=(24, 24), distilled=True),
    "deit3_small": DeiT3Config(dim=384, heads=6),
    "deit3_medium": DeiT3Config(dim=512, heads=8),
    "deit3_base": DeiT3Config(),
    "deit3_large": DeiT3Config(dim=1024, depth=24, heads=16),
    "deit3_base_384": DeiT3Config(grid=(24, 24)),
    "deit3_large_384": DeiT3Config(grid=(24, 24), dim=1024, depth=24, heads=16),
    "deit3_huge": DeiT3Config(patch=(14, 14), grid=(16, 16), dim=1280, depth=32, heads=16),
}
