"""The linear map, with the GELU that often follows it."""

from __future__ import annotations

import functools
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from .choice import is_tuned

LARGE_OUTPUT = 1 << 23  # numbers from which an output, 32 MiB in fp32, no longer stays in a cache
Gelu = Literal["none", "tanh"]  # as PyTorch names the exact (erf) one and its approximation


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: Gelu | None = None) -> Tensor:
    """x W^T + b, then a GELU if asked for, exact ("none") or by tanh: (..., C_in) -> (..., C_out).

    Without gradients on a CPU, oneDNN computes it directly, with the GELU, if that was measured to be faster than
    PyTorch's own way (`choice.py`). Equal up to rounding.
    """
    if (
        _inference_on_cpu(x, weight, bias)
        and is_tuned(("linear", x.dtype, shape_class(x, weight, gelu)))
        and fused_linear_works(x.dtype)
    ):
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "gelu" if gelu else "none", [], gelu or "none")
    x = F.linear(x, weight, bias)
    return F.gelu(x, approximate=gelu) if gelu else x


def shape_class(x: Tensor, weight: Tensor, gelu: Gelu | None) -> str:
    """The class of `choice.LINEAR` that a call belongs to."""
    c_out, c_in = weight.shape
    kind = "GELU" if gelu else "widens" if c_out > c_in else "narrows"
    return f"{kind}, large" if x.numel() * c_out >= LARGE_OUTPUT * c_in else f"{kind}, small"


def _inference_on_cpu(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    return (
        not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # which cannot write the operator's arguments down
        and x.device.type == "cpu"
        and x.dtype == weight.dtype
        and (bias is None or bias.is_contiguous())  # whose strides the operator does not look at
        and not (torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, weight, bias)))
        and not torch.is_autocast_enabled("cpu")
        and bool(torch.backends.mkldnn.enabled)
    )


@functools.cache
def fused_linear_works(dtype: torch.dtype) -> bool:
    """Whether the private oneDNN operator exists, accepts this type and computes the right numbers."""
    if dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():
        return False
    with torch.inference_mode():
        x, weight, bias = (torch.linspace(-1, 1, n).to(dtype) for n in (64, 48, 3))
        x, weight = x.view(4, 16), weight.view(3, 16)
        for gelu in get_args(Gelu):
            try:
                out = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "gelu", [], gelu)
            except (RuntimeError, AttributeError, TypeError):  # another build of PyTorch: not there, or other arguments
                return False
            expected = F.gelu(F.linear(x, weight, bias), approximate=gelu)
            if not torch.allclose(out.float(), expected.float(), atol=1e-5, rtol=2e-2):
                return False
        return True
