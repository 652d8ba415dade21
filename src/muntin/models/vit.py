"""An Image is Worth 16x16 Words, the Vision Transformer (Dosovitskiy et al., 2020, arXiv:2010.11929).

A picture as a sequence, for a Transformer encoder that knows nothing of pictures:
- patches are the words: one linear map embeds each (sec. 3.1, eq. 1);
- a learned class token before them, whose last state stands for the picture (eq. 1, 4);
- learned positions, resized for pictures of another size (sec. 3.2);
- plain pre-norm blocks: attention of all tokens with all, MLP with GELU (eq. 2, 3).

Sizes come from the input: pixels at the right and bottom that do not fill a patch are ignored, as in the original. Its
GELU is the approximation by tanh, JAX's default; weights trained by other code have the exact one (`gelu`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from muntin.errors import UserError
from muntin.layers.attention import Attention, PlainBackend, choose_attention
from muntin.layers.blocks import DropPath, Linear, Mlp, PreNormBlock, Series, drop_path_ramp
from muntin.layers.patch import ConvEmbed
from muntin.layers.position import GridEmbedding
from muntin.layers.tokens import PrefixTokens, split_tokens
from muntin.ops.resample import Resample

from .backbone import Features
from .fields import Blocks, PictureSize, Within, check_branches, check_fields

EPS = 1e-6  # of every norm
GELUS = {"tanh": "tanh", "erf": "none"}  # our names -> PyTorch's
Readouts = Literal["token", "gap", "mean_norm"]


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """What the paper's tables and the official configs vary."""

    patch: PictureSize = (16, 16)
    """Pixels a token, height and width."""
    in_chans: int = 3
    """Channels of the input."""
    dim: int = 768
    """Channels of a token."""
    depth: Blocks = 12
    """Blocks."""
    heads: int = 12
    """Attention heads."""
    mlp_ratio: float = 4.0
    """Hidden channels of an MLP, as a multiple of its channels."""
    grid: PictureSize = (14, 14)
    """Tokens, in height and width, of the pictures that the positions are learned on."""
    class_token: bool = True
    """Whether a class token stands before the tokens of the picture."""
    readout: Readouts = "token"
    """The vector that is classified: the class token, or the mean of all patches, after the norm (gap) or before it."""
    representation: Annotated[int, Within(0)] = 0
    """Width of a layer with tanh before the classifier, for pre-training; 0: none."""
    gelu: Literal["tanh", "erf"] = "tanh"
    """The activation of the MLPs: GELU by its approximation with tanh, or exact."""
    position_resample: Resample = "bilinear_corners"
    """How positions are resized for pictures of another size."""


class ViT(nn.Module):
    """The backbone: (B, in_chans, H, W) -> one level (B, C, H / patch, W / patch), and the prefix tokens (B, P, C).

    Both come out of the last block as they are; the norm after it (eq. 4) belongs to the readout. dropout: rate after
    the positions and after every linear map but those to queries, keys and values.
    """

    def __init__(self, config: ViTConfig, drop_path_rate: float = 0.0, dropout: float = 0.0):
        super().__init__()
        self.config = config
        self._check()
        self.stem, channels, stride = self._stem()
        self.channels, self.strides = (config.dim,), (tuple(stride * p for p in config.patch),)
        self.embed_dim = config.dim
        self.patch_embed = ConvEmbed(channels, config.dim, config.patch, config.patch)
        self.prefix = self._prefix()
        self.position = self._position()
        self.dropout = nn.Dropout(dropout)
        rates = self._drop_path_rates(drop_path_rate)
        self.blocks: Series[nn.Module] = Series(self._block(DropPath(rate), dropout) for rate in rates)
        self.initialise()

    def forward(self, x: Tensor) -> Features:
        return self.encode(self.embed(x))

    def embed(self, x: Tensor) -> Tensor:
        return self.patch_embed(self.stem(x))

    def encode(self, tokens: Tensor) -> Features:
        x = self.dropout(self.prefix(self.position(tokens).flatten(1, -2)))  # (B, P + N, C)
        level, prefix = split_tokens(self.blocks(x), tuple(tokens.shape[1:-1]))
        return Features([level], prefix)

    def stacked(self) -> list[list[nn.Module]]:
        """The blocks; they are one stage."""
        return [list(self.blocks)]

    def looked_at(self) -> list[list[Any]]:
        """The attention of every block."""
        return [list(stage) for stage in self.attentions()]

    def layers(self) -> list[list[nn.Module]]:
        """Embedding, tokens and positions, then block after block."""
        return [[self.patch_embed, self.position, self.prefix], *([block] for block in self.blocks)]

    def attentions(self) -> list[list[Attention]]:
        """The attention of every block; they are one stage."""
        return [[m for m in self.blocks.modules() if isinstance(m, Attention)]]

    def set_attention(self, backend: PlainBackend) -> None:
        """Choose how attention is computed, see `ops.attention`; auto is sdpa."""
        choose_attention(self.attentions(), backend)

    def adopt(self, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """Adopt the settings of the weights that no tensor tells. Returns a sentence for what changed.

        settings: fields of the config. GELU and the way to resize positions are taken over; of the others, only heads
        concern the backbone. Raises UserError for weights with another number of heads.
        """
        if (heads := settings.get("heads", self.config.heads)) != self.config.heads:
            raise UserError(
                f"the weights are of {heads} heads and the model has {self.config.heads}; build it with heads={heads}"
            )
        taken = {name: settings[name] for name in ("gelu", "position_resample") if name in settings}
        changed = {name: value for name, value in taken.items() if value != getattr(self.config, name)}
        self.config = replace(self.config, **changed)
        self._check()
        for module in self.modules():
            if isinstance(module, Mlp):
                module.activation = nn.GELU(GELUS[self.config.gelu])
            elif hasattr(module, "resample"):
                module.resample = self.config.position_resample  # type: ignore[assignment]
        return tuple(f"{name} {value}, as the weights ask for" for name, value in changed.items())

    @torch.no_grad()
    def initialise(self) -> None:
        """Linear maps Xavier uniform, to queries, keys and values each for itself; biases of the MLP N(0, 1e-6), other
        biases 0; norms 1 and 0; convolutions LeCun normal; positions N(0, 0.02), tokens 0 (official code).
        """
        for module in self.modules():
            if isinstance(module, nn.LayerNorm | nn.GroupNorm):
                module.reset_parameters()
            elif isinstance(module, nn.Conv2d):
                lecun_normal_(module)
            elif isinstance(module, Attention):
                for weight in (*module.qkv.get_parameter("weight").chunk(3), module.proj.weight):
                    nn.init.xavier_uniform_(weight)
                nn.init.zeros_(module.qkv.get_parameter("bias"))
                nn.init.zeros_(module.proj.bias)
            elif isinstance(module, Mlp):
                for linear in (module.fc1, module.fc2):
                    nn.init.xavier_uniform_(linear.weight)
                    nn.init.normal_(linear.bias, std=1e-6)
            elif isinstance(module, GridEmbedding):
                nn.init.normal_(module.embedding, std=0.02)
            elif isinstance(module, PrefixTokens):
                for token in module.tokens():
                    nn.init.zeros_(token)
                if module.position is not None:
                    nn.init.normal_(module.position, std=0.02)

    def _check(self) -> None:
        """Raise UserError for a config that no model can have."""
        config = self.config
        check_fields(config)
        check_branches((config.dim,), (config.heads,), (config.mlp_ratio,))
        if config.readout == "token" and not config.class_token:
            raise UserError("without a class token there is no token to read; set readout to 'gap' or 'mean_norm'")
        if config.representation and config.readout == "mean_norm":
            raise UserError("the readout 'mean_norm' has no representation layer; set representation to 0")

    def _stem(self) -> tuple[nn.Module, int, int]:
        """The network between the picture and the patches, its channels and its stride: none, except in hybrids."""
        return nn.Identity(), self.config.in_chans, 1

    def _drop_path_rates(self, rate: float) -> list[float]:
        """The rate of every block."""
        return drop_path_ramp(rate, (self.config.depth,))[0]

    def _position(self) -> nn.Module:
        return GridEmbedding(self.config.grid, self.config.dim, self.config.position_resample)

    def _prefix(self) -> PrefixTokens:
        return PrefixTokens(("class_token",) if self.config.class_token else (), self.config.dim)

    def _block(self, drop_path: DropPath, dropout: float) -> nn.Module:
        return PreNormBlock(self.config.dim, *self._branches(dropout), drop_path, EPS)

    def _branches(self, dropout: float) -> tuple[nn.Module, nn.Module]:
        """Attention and MLP of a block."""
        dim, gelu = self.config.dim, nn.GELU(GELUS[self.config.gelu])
        attention = Attention(self._qkv(), dim=dim, heads=self.config.heads, dropout=dropout)
        return attention, Mlp(dim, int(dim * self.config.mlp_ratio), gelu, dropout)

    def _qkv(self) -> nn.Module:
        return Linear(self.config.dim, 3 * self.config.dim)


def lecun_normal_(convolution: nn.Conv2d) -> None:
    """Weights of variance 1 / fan-in, cut at two deviations; bias 0. The default of JAX's layers."""
    deviation = convolution.weight[0].numel() ** -0.5
    # the cut narrows a normal distribution to 0.8796 of its deviation
    deviation /= 0.87962566103423978
    nn.init.trunc_normal_(convolution.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


def _tiny(patch: int, grid: int) -> ViTConfig:
    return ViTConfig(patch=(patch, patch), grid=(grid, grid), dim=192, heads=3)


def _small(patch: int, grid: int) -> ViTConfig:
    return ViTConfig(patch=(patch, patch), grid=(grid, grid), dim=384, heads=6)


def _base(patch: int, grid: int) -> ViTConfig:
    return ViTConfig(patch=(patch, patch), grid=(grid, grid))


def _large(patch: int, grid: int) -> ViTConfig:
    return ViTConfig(patch=(patch, patch), grid=(grid, grid), dim=1024, depth=24, heads=16)


def _huge(patch: int, grid: int) -> ViTConfig:
    return ViTConfig(patch=(patch, patch), grid=(grid, grid), dim=1280, depth=32, heads=16)


def _gap(config: ViTConfig) -> ViTConfig:
    return replace(config, class_token=False, readout="gap")


def with_384(variants: Mapping[str, Any]) -> dict[str, Any]:
    """The variants for pictures of 224 pixels, and each with positions for 384, as they are fine-tuned (sec. 3.2)."""
    larger = {
        f"{name}_384": replace(config, grid=tuple(side * 384 // 224 for side in config.grid))
        for name, config in variants.items()
    }
    return {**variants, **larger}


_AT_224 = {  # table 1; Ti and S: Steiner et al., 2021, arXiv:2106.10270
    "vit_tiny_patch16": _tiny(16, 14),
    "vit_small_patch16": _small(16, 14),
    "vit_small_patch32": _small(32, 7),
    "vit_base_patch8": _base(8, 28),
    "vit_base_patch16": _base(16, 14),
    "vit_base_patch32": _base(32, 7),
    "vit_large_patch16": _large(16, 14),
    "vit_large_patch32": _large(32, 7),
    "vit_huge_patch14": _huge(14, 16),
    "vit_small_patch16_gap": _gap(_small(16, 14)),
    "vit_small_patch32_gap": _gap(_small(32, 7)),
    "vit_base_patch16_gap": _gap(_base(16, 14)),
    "vit_base_patch32_gap": _gap(_base(32, 7)),
}
VARIANTS: dict[str, ViTConfig] = with_384(_AT_224)
