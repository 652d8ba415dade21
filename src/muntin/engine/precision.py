"""Which number format the forward pass computes in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["auto", "fp32", "bf16"]


def has_bf16(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16 matrices in hardware, so that autocast saves time rather than costs it.

    CUDA: compute capability 8.0 and later. CPU: AMX or AVX-512 BF16 on x86, the bf16 extension on ARM. Others: no.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return any(able.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))
    return False


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The context to run a forward pass in; it may be entered again and again. Weights stay as they are.

    "bf16": matrix products in bfloat16, sums and norms in float32 (torch.autocast); "fp32": nothing is cast;
    "auto": bf16 where `has_bf16`, else fp32. There is no float16: it overflows on Swin-B and larger.
    """
    if precision == "bf16" or (precision == "auto" and has_bf16(device)):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()
