"""CvT: Introducing Convolutions to Vision Transformers (Wu et al., 2021, arXiv:2103.15808).

New over ViT:
- a convolutional token embedding with overlap before each of three stages (sec. 3.1);
- a convolutional projection: queries, keys and values come from depthwise convolutions (sec. 3.2);
- keys and values at a quarter of the cells, by the stride of their convolutions (sec. 3.2, fig. 2c);
- no position embedding: the convolutions see where a cell is (sec. 3.3);
- a class token that only the last stage has (sec. 3).

The official code scales the logits by C^-0.5, of all channels and not of one head's, and has QuickGELU in its MLPs.
Sizes come from the input: any height and width works.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from muntin.errors import UserError
from muntin.layers.attention import PlainBackend, choose_attention
from muntin.layers.blocks import DropPath, Linear, Mlp, PreNormBlock, QuickGELU, Series, drop_path_ramp
from muntin.layers.init import init_transformer
from muntin.layers.patch import ConvEmbed, DepthwiseConv
from muntin.layers.tokens import add_tokens, split_tokens
from muntin.ops.attention import attend
from muntin.ops.windows import Size

from .backbone import Features
from .fields import Blocks, Within, check_branches, check_fields

Projection = Literal["dw_bn", "avg", "linear"]  # as the official configs call them

Kernel = Annotated[int, Within(1, 64)]


@dataclass(frozen=True, kw_only=True)
class CvTConfig:
    """What the official configs vary. Every tuple has one entry a stage."""

    in_chans: int = 3
    """Channels of the input."""
    embed_kernel: tuple[Kernel, ...] = (7, 3, 3)
    """Side of the square kernel of each token embedding."""
    embed_stride: tuple[int, ...] = (4, 2, 2)
    """Stride of each token embedding."""
    embed_padding: tuple[Annotated[int, Within(0)], ...] = (2, 1, 1)
    """Padding of each token embedding; less than its kernel."""
    dims: tuple[int, ...] = (64, 192, 384)
    """Channels of each stage."""
    depths: tuple[Blocks, ...] = (1, 2, 10)
    """Blocks of each stage."""
    heads: tuple[int, ...] = (1, 3, 6)
    """Attention heads of each stage."""
    mlp_ratio: tuple[float, ...] = (4.0, 4.0, 4.0)
    """Hidden channels of each stage's MLPs, as a multiple of their channels."""
    projection: tuple[Projection, ...] = ("dw_bn", "dw_bn", "dw_bn")
    """How queries, keys and values are made: by a depthwise convolution with batch norm, by pooling, or linearly."""
    kernel: tuple[Kernel, ...] = (3, 3, 3)
    """Side of the kernels of the projections; odd, so that padding keeps the map's size."""
    kv_stride: tuple[int, ...] = (2, 2, 2)
    """Stride of the projections of keys and values."""
    qkv_bias: tuple[bool, ...] = (True, True, True)
    """Whether the linear maps behind the projections have biases."""
    class_token: tuple[bool, ...] = (False, False, True)
    """Whether a stage has a class token of its own; only that of the last stage is given back."""


# --- convolutional projection (sec. 3.2): (B, C, H, W), class token (B, 1, C) or None -> (B, P + N', C) ---------------


class LinearProjection(nn.Module):
    """Every token by itself: a linear map."""

    def __init__(self, dim: int, bias: bool):
        super().__init__()
        self.proj = Linear(dim, dim, bias=bias)

    def forward(self, grid: Tensor, prefix: Tensor | None) -> Tensor:
        tokens = self.proj(grid.flatten(2).mT)
        # the class token on its own: a gradient cut out of a longer sequence makes batch norm's backward slow
        return tokens if prefix is None else torch.cat((self.proj(prefix), tokens), 1)


class DepthwiseProjection(LinearProjection):
    """Depthwise convolution and batch norm of the map, then a linear map; the class token skips the convolution."""

    def __init__(self, dim: int, kernel: int, stride: int, bias: bool):
        super().__init__(dim, bias)
        self.conv: nn.Conv2d = DepthwiseConv(dim, kernel, stride, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(dim)

    def forward(self, grid: Tensor, prefix: Tensor | None) -> Tensor:
        return super().forward(self.bn(self.conv(grid)), prefix)

    def fuse(self) -> None:
        """Put the batch norm, with its running statistics, into the convolution."""
        if isinstance(self.bn, nn.BatchNorm2d):
            self.conv, self.bn = fuse_conv_bn_eval(self.conv, self.bn), nn.Identity()


class PooledProjection(LinearProjection):
    """Mean of each neighbourhood, then a linear map; the class token is not pooled.

    Sizes round up and zeros of the border count, as in the official code: from 14 cells, stride 2 makes 8.
    """

    def __init__(self, dim: int, kernel: int, stride: int, bias: bool):
        super().__init__(dim, bias)
        self.kernel, self.stride = kernel, stride

    def forward(self, grid: Tensor, prefix: Tensor | None) -> Tensor:
        return super().forward(pool_rounding_up(grid, self.kernel, self.stride), prefix)


def pool_rounding_up(grid: Tensor, kernel: int, stride: int) -> Tensor:
    """F.avg_pool2d with padding kernel // 2, kernel odd, and ceil_mode: (B, C, H, W) -> (B, C, H', W').

    Written out, because torch.compile (2.13) gets the gradient of ceil_mode wrong.
    """
    rim = kernel // 2
    missing = [(1 - side) % stride for side in grid.shape[:-3:-1]]  # cells of the last window that are not there
    far_w, far_h = (cells if cells <= rim else 0 for cells in missing)  # a window of zeros alone is left out
    mean = F.avg_pool2d(F.pad(grid, (rim, rim + far_w, rim, rim + far_h)), kernel, stride)
    there = F.pad(grid.new_ones(1, 1, grid.shape[2] + 2 * rim, grid.shape[3] + 2 * rim), (0, far_w, 0, far_h))
    return mean / F.avg_pool2d(there, kernel, stride)


class ConvAttention(nn.Module):
    """Attention of tokens whose q, k and v are projections of their map: (B, P + N, C), (H, W) -> (B, P + N, C).

    q, k, v: modules (map, class token) -> tokens, of which k and v may give fewer. Similarity: dot product * C^-0.5.
    """

    def __init__(self, q: nn.Module, k: nn.Module, v: nn.Module, *, dim: int, heads: int):
        super().__init__()
        self.heads, self.scale = heads, dim**-0.5
        self.backend: PlainBackend = "auto"
        self.q, self.k, self.v = q, k, v
        self.proj = Linear(dim, dim)

    def forward(self, x: Tensor, size: Size) -> Tensor:
        grid, prefix = split_tokens(x, size)
        q, k, v = (
            project(grid, prefix).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.q, self.k, self.v)
        )  # (B, h, P + N, D), k and v (B, h, P + N', D)
        out = attend(q * self.scale, k, v, None, self.backend)
        return self.proj(out.transpose(1, 2).flatten(-2))

    def extra_repr(self) -> str:
        return f"heads={self.heads}"


class CvT(nn.Module):
    """The backbone: (B, in_chans, H, W) -> levels (B, C_i, H_i, W_i) at strides 4, 8, 16, and the class token.

    Features.prefix is the class token of the last stage, (B, 1, C), None where it has none.
    drop_path_rate: of the last block; rates grow linearly from 0 within the last stage, and are 0 in all others, as in
    the official configs.
    """

    def __init__(self, config: CvTConfig, drop_path_rate: float = 0.0):
        super().__init__()
        _check(config)
        self.config, self.channels, self.embed_dim = config, config.dims, config.dims[0]
        self.strides = tuple((math.prod(config.embed_stride[: i + 1]),) * 2 for i in range(len(config.dims)))
        self.embeds = nn.ModuleList(_embed(config, i) for i in range(len(config.dims)))
        self.class_tokens = nn.ParameterDict(
            {str(i): torch.empty(1, dim) for i, dim in enumerate(config.dims) if config.class_token[i]}
        )
        last = len(config.dims) - 1
        self.stages: Series[Series[PreNormBlock]] = Series(
            Series(
                _block(config, i, DropPath(rate))
                for rate in drop_path_ramp(drop_path_rate if i == last else 0.0, (depth,))[0]
            )
            for i, depth in enumerate(config.depths)
        )
        self.initialise()

    def forward(self, x: Tensor) -> Features:
        return self.encode(self.embed(x))

    def embed(self, x: Tensor) -> Tensor:
        return self.embeds[0](x)

    def encode(self, tokens: Tensor) -> Features:
        levels: list[Tensor] = []
        for i, stage in enumerate(self.stages):
            x = self.embeds[i](levels[-1]) if i else tokens
            size = tuple(x.shape[1:-1])
            x = x.flatten(1, 2)
            if str(i) in self.class_tokens:
                x = add_tokens(self.class_tokens[str(i)], x)
            x = stage(x, size)
            level, prefix = split_tokens(x, size)
            levels.append(level)
        return Features(levels, prefix)

    def stacked(self) -> list[list[nn.Module]]:
        """The blocks of every stage."""
        return [list(stage) for stage in self.stages]

    def looked_at(self) -> list[list[Any]]:
        """[]: its keys are on a coarser grid than its queries, which no map shows."""
        return []

    def layers(self) -> list[list[nn.Module]]:
        """Token embedding, then block after block, stage by stage; class tokens with the first embedding before one."""
        groups: list[list[nn.Module]] = []
        for i, (embed, stage) in enumerate(zip(self.embeds, self.stages)):
            first = next(iter(self.class_tokens), None) == str(i)
            groups.append([embed, self.class_tokens] if first else [embed])
            groups += [[block] for block in stage]
        return groups

    def attentions(self) -> list[list[ConvAttention]]:
        """The attention of every block, stage by stage."""
        return [[m for m in stage.modules() if isinstance(m, ConvAttention)] for stage in self.stages]

    def set_attention(self, backend: PlainBackend) -> None:
        """Choose how attention is computed, see `ops.attention.attend`."""
        choose_attention(self.attentions(), backend)

    def fuse(self) -> None:
        """Put every batch norm into the convolution before it, for inference; answers stay the same, up to rounding.

        This cannot be undone, and the names of the weights change: save them before. Raises UserError in training mode.
        """
        if self.training:
            raise UserError(
                "batch norms are fused for inference, and this model is in training mode; call eval() first"
            )
        for module in self.modules():
            if isinstance(module, DepthwiseProjection):
                module.fuse()

    def no_weight_decay(self) -> set[str]:
        return {f"class_tokens.{stage}" for stage in self.class_tokens}

    def initialise(self) -> None:
        """Linear N(0, 0.02), bias 0, norms 1 and 0, class tokens N(0, 0.02); convolutions: torch's."""
        self.apply(init_transformer)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
                module.reset_parameters()
        for token in self.class_tokens.values():
            nn.init.trunc_normal_(token, std=0.02)


def _embed(config: CvTConfig, stage: int) -> ConvEmbed:
    in_chans, dim = config.dims[stage - 1] if stage else config.in_chans, config.dims[stage]
    kernel, stride, padding = (
        (value[stage],) * 2 for value in (config.embed_kernel, config.embed_stride, config.embed_padding)
    )
    return ConvEmbed(in_chans, dim, kernel, stride, padding, nn.LayerNorm(dim))


def _block(config: CvTConfig, stage: int, drop_path: DropPath) -> PreNormBlock:
    dim = config.dims[stage]
    mix = ConvAttention(*_projections(config, stage), dim=dim, heads=config.heads[stage])
    return PreNormBlock(dim, mix, Mlp(dim, int(dim * config.mlp_ratio[stage]), QuickGELU()), drop_path)


def _projections(config: CvTConfig, stage: int) -> list[nn.Module]:
    """Those of queries, keys and values; pooling leaves queries as they are."""
    dim, kernel, stride = config.dims[stage], config.kernel[stage], config.kv_stride[stage]
    method, bias = config.projection[stage], config.qkv_bias[stage]
    if method == "dw_bn":
        return [DepthwiseProjection(dim, kernel, s, bias) for s in (1, stride, stride)]
    if method == "avg":
        return [LinearProjection(dim, bias), *(PooledProjection(dim, kernel, stride, bias) for _ in range(2))]
    return [LinearProjection(dim, bias) for _ in range(3)]


def _check(config: CvTConfig) -> None:
    """Raise UserError for a config that no model can have."""
    check_fields(config)
    check_branches(config.dims, config.heads, config.mlp_ratio)
    if not all(kernel % 2 for kernel in config.kernel):
        raise UserError(f"kernel is {config.kernel}; the kernels of projections must be odd numbers")
    if any(padding >= kernel for padding, kernel in zip(config.embed_padding, config.embed_kernel)):
        raise UserError(f"embed_padding is {config.embed_padding}; it must be less than the embed_kernel")


VARIANTS = {  # table 2 and the official configs
    "cvt_13": CvTConfig(),
    "cvt_21": CvTConfig(depths=(1, 4, 16)),
    "cvt_w24": CvTConfig(dims=(192, 768, 1024), depths=(2, 2, 20), heads=(3, 12, 16)),
}
