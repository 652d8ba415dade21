"""The linear map, with the GELU that often follows it."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool = False) -> Tensor:
    """x W^T + b, then the exact (erf) GELU if asked for: (..., C_in) -> (..., C_out).

    Without gradients on a CPU it goes to oneDNN directly, which is faster than PyTorch's own way in fp32 and takes the
    GELU along. Equal up to rounding.
    """
    if _inference_on_cpu(x, weight, bias) and fused_linear_works(x.dtype):
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "gelu" if gelu else "none", [], "none")
    x = F.linear(x, weight, bias)
    return F.gelu(x) if gelu else x


def _inference_on_cpu(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    return (
        not torch.compiler.is_compiling()
        and x.device.type == "cpu"
        and x.dtype == weight.dtype
        and not (torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, weight, bias)))
        and not torch.is_autocast_enabled("cpu")
        and bool(torch.backends.mkldnn.enabled)
    )


@functools.cache
def fused_linear_works(dtype: torch.dtype) -> bool:
    """Whether the private oneDNN operator is there, takes this type and computes what it should."""
    if dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():
        return False
    with torch.inference_mode():
        x, weight, bias = (torch.linspace(-1, 1, n).to(dtype) for n in (64, 48, 3))
        x, weight = x.view(4, 16), weight.view(3, 16)
        try:
            out = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "gelu", [], "none")
        except (RuntimeError, AttributeError, TypeError):  # another build of PyTorch: not there, or other arguments
            return False
        return torch.allclose(out.float(), F.gelu(F.linear(x, weight, bias)).float(), atol=1e-5, rtol=2e-2)
