"""A ConvNet for the 2020s, ConvNeXt (Liu, Mao, Wu, Feichtenhofer, Darrell and Xie, 2022, arXiv:2201.03545).

A ResNet brought up to date until it looks like a Swin Transformer without attention:
- a patchify stem, and downsampling by layers of their own between the stages (sec. 2.2, 2.6);
- a 7 x 7 depthwise convolution mixes cells, then an inverted bottleneck mixes channels (sec. 2.3 to 2.5);
- one GELU and one layer norm a block (sec. 2.6);
- a learned scale of every branch, and an isotropic form with one stage like ViT's (sec. 3.3, appendix A).

`convnext_roadmap.py` walks there from ResNet, step by step. Sizes round down, as in the original: pixels at the
right and bottom that do not fill a patch are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from muntin.errors import UserError
from muntin.layers.blocks import DropPath, LayerScale, Mlp, Series, drop_path_ramp
from muntin.layers.patch import ConvEmbed, DepthwiseConv

from .backbone import Features
from .fields import Blocks, PictureSize, check_fields

EPS = 1e-6  # of every norm
KERNEL = 7  # of the depthwise convolution
SHARED_DEPTH = 3  # blocks of a long stage that learn at one rate under layer decay


@dataclass(frozen=True, kw_only=True)
class ConvNeXtConfig:
    """What the paper's tables vary."""

    patch: PictureSize = (4, 4)
    """Pixels a token of the first stage, in height and width."""
    in_chans: int = 3
    """Channels of the input."""
    dims: tuple[int, ...] = (96, 192, 384, 768)
    """Channels of each stage."""
    depths: tuple[Blocks, ...] = (3, 3, 9, 3)
    """Blocks of each stage."""
    patch_norm: bool = True
    """Whether a layer norm follows the patch embedding; isotropic models have none."""
    layer_scale: float = 1e-6
    """First value of the scale of each branch; 0: branches have no scale."""


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, norm, MLP, scale, on a residual branch: (B, H, W, C) -> (B, H, W, C) (fig. 4).

    To the convolution the tokens are a picture that lies channels-last in memory: no copies are made, and it is the
    order that its kernels like best.
    """

    def __init__(self, dim: int, scale: nn.Module, drop_path: nn.Module):
        super().__init__()
        self.dwconv = DepthwiseConv(dim, KERNEL)
        self.norm = nn.LayerNorm(dim, EPS)
        self.mlp = Mlp(dim, 4 * dim)
        self.scale, self.drop_path = scale, drop_path

    def forward(self, x: Tensor) -> Tensor:
        y = self.dwconv(x.movedim(-1, 1)).movedim(1, -1)
        return x + self.drop_path(self.scale(self.mlp(self.norm(y))))


class Downsample(nn.Module):
    """Between stages: norm, then a convolution over 2 x 2 cells, (B, H, W, C) -> (B, H // 2, W // 2, dim)."""

    def __init__(self, in_dim: int, dim: int):
        super().__init__()
        self.norm = nn.LayerNorm(in_dim, EPS)
        self.proj = nn.Conv2d(in_dim, dim, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.norm(x).movedim(-1, 1)).movedim(1, -1)


class ConvNeXt(nn.Module):
    """The backbone: (B, in_chans, H, W) -> levels (B, C_i, H_i, W_i) at strides 4, 8, 16, 32; one level if isotropic.

    Readout: mean, norm (eps 1e-6), linear. Dense heads norm each level that they read.
    """

    def __init__(self, config: ConvNeXtConfig, drop_path_rate: float = 0.0):
        super().__init__()
        check_fields(config)
        self.config = config
        self.channels, self.embed_dim = config.dims, config.dims[0]
        self.strides = tuple(tuple(p * 2**i for p in config.patch) for i in range(len(config.dims)))
        norm = nn.LayerNorm(config.dims[0], EPS) if config.patch_norm else None
        self.patch_embed = ConvEmbed(config.in_chans, config.dims[0], config.patch, config.patch, norm=norm)
        self.downsamples = nn.ModuleList(Downsample(a, b) for a, b in zip(config.dims, config.dims[1:]))
        rates = drop_path_ramp(drop_path_rate, config.depths)
        self.stages: Series[Series[ConvNeXtBlock]] = Series(
            Series(self._block(dim, DropPath(rate)) for rate in stage_rates)
            for dim, stage_rates in zip(config.dims, rates)
        )
        self.initialise()

    def forward(self, x: Tensor) -> Features:
        return self.encode(self.embed(x))

    def embed(self, x: Tensor) -> Tensor:
        """Pictures to the tokens of the first stage. Raises UserError where the last stage would see nothing."""
        tokens = self.patch_embed(x)
        if min(tokens.shape[1:-1]) < 2 ** len(self.downsamples):
            needed = "x".join(str(p * 2 ** len(self.downsamples)) for p in self.config.patch)
            raise UserError(
                f"the picture of {x.shape[2]}x{x.shape[3]} pixels is too small for {len(self.channels)} stages; "
                f"enlarge it to at least {needed}"
            )
        return tokens

    def encode(self, tokens: Tensor) -> Features:
        x, levels = tokens, []
        for i, stage in enumerate(self.stages):
            x = stage(self.downsamples[i - 1](x) if i else x)
            levels.append(x.movedim(-1, 1))
        return Features(levels)

    def stacked(self) -> list[list[nn.Module]]:
        """The blocks of every stage."""
        return [list(stage) for stage in self.stages]

    def looked_at(self) -> list[list[Any]]:
        """[]: it has no attention."""
        return []

    def layers(self) -> list[list[nn.Module]]:
        """Embedding, then stage by stage, each with the downsampling before it (appendix A, layer decay).

        The official map has one depth for a stage, but for the third, which has one for every 3 blocks; here a stage
        of more than 3 blocks is divided so, which covers T and the isotropic models too.
        """
        groups: list[list[nn.Module]] = [[self.patch_embed]]
        for i, stage in enumerate(self.stages):
            blocks: list[nn.Module] = list(stage)
            shared = [blocks[j : j + SHARED_DEPTH] for j in range(0, len(blocks), SHARED_DEPTH)]
            shared[0] = [*self.downsamples[i - 1 : i], *shared[0]] if i else shared[0]
            groups += shared
        return groups

    def initialise(self) -> None:
        """Convolutions and linear maps N(0, 0.02), biases 0, norms 1 and 0, scales the config's `layer_scale`."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm):
                module.reset_parameters()
            elif isinstance(module, LayerScale):
                nn.init.constant_(module.gamma, self.config.layer_scale)

    def _block(self, dim: int, drop_path: DropPath) -> ConvNeXtBlock:
        return ConvNeXtBlock(dim, LayerScale(dim) if self.config.layer_scale else nn.Identity(), drop_path)


VARIANTS = {  # sec. 3; isotropic: table 2
    "convnext_tiny": ConvNeXtConfig(),
    "convnext_small": ConvNeXtConfig(depths=(3, 3, 27, 3)),
    "convnext_base": ConvNeXtConfig(dims=(128, 256, 512, 1024), depths=(3, 3, 27, 3)),
    "convnext_large": ConvNeXtConfig(dims=(192, 384, 768, 1536), depths=(3, 3, 27, 3)),
    "convnext_xlarge": ConvNeXtConfig(dims=(256, 512, 1024, 2048), depths=(3, 3, 27, 3)),
    "convnext_iso_small": ConvNeXtConfig(patch=(16, 16), dims=(384,), depths=(18,), patch_norm=False, layer_scale=0.0),
    "convnext_iso_base": ConvNeXtConfig(patch=(16, 16), dims=(768,), depths=(18,), patch_norm=False, layer_scale=0.0),
    "convnext_iso_large": ConvNeXtConfig(patch=(16, 16), dims=(1024,), depths=(36,), patch_norm=False),
}
