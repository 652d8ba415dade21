"""Depthwise convolution whose gradients are depthwise convolutions too."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from muntin.ops.cached import without_autocast

from .choice import is_tuned

SMALL_KERNEL = 3  # up to this size oneDNN has gradients of its own in most types


def depthwise_conv(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int = 1) -> Tensor:
    """Every channel with a kernel of its own: (B, C, H, W) -> (B, C, H, W), sides divided by the stride, rounded up.

    weight: (C, 1, k, k), k odd. As F.conv2d with padding k // 2, and equal to it up to rounding. In training
    on a CPU the gradients are written out here where PyTorch's own were measured to take longer (`choice.py`): for
    large kernels up to 30 times as long as the convolution.
    """
    if _gains(x, weight, stride):
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            x, weight, bias = x.to(dtype), weight.to(dtype), bias if bias is None else bias.to(dtype)
        with without_autocast(x.device):
            return _DepthwiseConv.apply(x, weight, bias, stride)  # type: ignore[no-any-return]
    return _conv(x, weight, bias, stride)


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1) -> Tensor:
    padding = [k // 2 for k in weight.shape[2:]]
    return F.conv2d(x, weight, bias, stride, padding, groups=len(weight))


class _DepthwiseConv(torch.autograd.Function):
    """F.conv2d with other ways to the same gradients."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
        return _conv(x, weight, bias, stride)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None, int], output: Tensor) -> None:
        x, weight, _, ctx.stride = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias, _ = ctx.needs_input_grad
        grad = _spread(grad, x, ctx.stride) if ctx.stride > 1 else grad
        return (
            _conv(grad, weight.flip(2, 3)) if wants_x else None,
            weight_gradient(x, grad, weight.shape[2:]) if wants_weight else None,
            grad.sum((0, 2, 3)) if wants_bias else None,
            None,
        )


def _spread(grad: Tensor, x: Tensor, stride: int) -> Tensor:
    """A gradient where the strides were, 0 between: that of the convolution with stride 1."""
    spread = torch.zeros_like(x)
    spread[..., ::stride, ::stride] = grad
    return spread


def weight_gradient(x: Tensor, grad: Tensor, kernel: torch.Size) -> Tensor:
    """Of a depthwise convolution: x and grad (B, C, H, W) -> (C, 1, k, k).

    Offset by offset it is the product of the two maps, summed: the depthwise convolution of x with `grad` as a kernel
    of the size of the map, each sample and channel a channel.
    """
    B, C, H, W = x.shape
    maps, kernels = x.reshape(1, B * C, H, W), grad.reshape(B * C, 1, H, W)
    far_h, far_w = (min(k // 2, side - 1) for k, side in zip(kernel, (H, W)))  # no two cells are further apart
    if H == W == 1:  # one product a channel, for which there is no kernel
        offsets = maps * kernels.view_as(maps)
    else:
        offsets = F.conv2d(maps, kernels, padding=(far_h, far_w), groups=B * C)
    found = offsets.view(B, C, 1, *offsets.shape[2:]).sum(0, dtype=torch.float32).to(x.dtype)
    rest_h, rest_w = kernel[0] // 2 - far_h, kernel[1] // 2 - far_w
    return F.pad(found, (rest_w, rest_w, rest_h, rest_h))


def shape_class(weight: Tensor, stride: int) -> str:
    """The class of `choice.DEPTHWISE` that a call belongs to."""
    kernel = "large" if min(weight.shape[2:]) > SMALL_KERNEL else "small"
    return f"{kernel} kernel, {'strided' if stride > 1 else 'dense'}"


def _gains(x: Tensor, weight: Tensor, stride: int) -> bool:
    """Whether the gradients written out here are wanted and were measured to be faster than PyTorch's own."""
    rounded = torch.is_autocast_enabled("cpu") and x.dtype != torch.float64  # which autocast leaves as it is
    dtype = torch.get_autocast_dtype("cpu") if rounded else x.dtype
    return (
        not torch.compiler.is_compiling()
        and x.device.type == "cpu"
        and x.numel() > 0
        and torch.is_grad_enabled()
        and (x.requires_grad or weight.requires_grad)
        and is_tuned(("depthwise gradient", dtype, shape_class(weight, stride)))
        and bool(torch.backends.mkldnn.enabled)
    )
