"""softmax(QK^T + bias)V, the only place that computes it.

`attend` is the readable form, with two backends that autograd differentiates. `forward_chunk` and `backward_chunk`
are the same function and its gradient written out, for callers that walk over many small groups and want to keep
nothing but the inputs, or the inputs and P.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .cached import without_autocast

MAX_LOGIT_SCALE = math.log(100.0)  # Swin V2, sec. 3.2: the temperature is kept at 0.01 or more

HIDDEN = -10_000.0  # added to the logit of a key that nobody may attend to

MOST_LOGITS = 1 << 26  # of a batch, that may be kept for the backward pass: 128 MiB in bf16


def attend(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None, backend: Literal["auto", "reference", "sdpa"] = "sdpa"
) -> Tensor:
    """Attention with an additive bias: (..., N, D), (..., M, D) twice, bias broadcast to (..., N, M) -> (..., N, D).

    q comes already scaled. `reference` has logits and softmax in fp32 or wider whatever the input's type; `sdpa` wants
    one type, so q, k and the bias are rounded to that of v before its softmax in fp32. `auto` is the faster of `sdpa`
    and plain products, whose logits are rounded to the input's type.
    """
    if backend == "auto" and _products_are_faster(q, k):
        logits = q @ k.mT
        return (logits if bias is None else logits + bias).softmax(-1).to(v.dtype) @ v
    if backend != "reference":
        mask = None if bias is None else bias.to(q.dtype)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0)
    return probabilities(q, k, bias).to(v.dtype) @ v


def key_bias(mask: Tensor) -> Tensor:
    """The bias of `attend` that hides padding: (B, M), True for a real key -> (B, 1, 1, M).

    -10,000 is BERT's number: its exponential is 0 in every type, and a row without any key stays finite.
    """
    return torch.where(mask, 0.0, HIDDEN)[:, None, None]


def _products_are_faster(q: Tensor, k: Tensor) -> bool:
    """In bf16 on a CPU (AVX-512, no AMX): twice in training, a third in inference; beyond a size, memory counts."""
    half = q.dtype == torch.bfloat16 and q.device.type == "cpu" and not torch.compiler.is_compiling()
    return half and math.prod(q.shape[:-1]) * k.shape[-2] <= MOST_LOGITS


def probabilities(q: Tensor, k: Tensor, bias: Tensor | None = None) -> Tensor:
    """softmax(QK^T + bias), in fp32 or wider: (..., N, D), (..., M, D) -> (..., N, M)."""
    wide = torch.promote_types(q.dtype, torch.float32)
    with without_autocast(q.device):
        logits = q.to(wide) @ k.to(wide).mT
        return (logits if bias is None else logits + bias.to(wide)).softmax(-1)


def temperature_scale(logit_scale: Tensor) -> Tensor:
    """1/tau of scaled cosine attention from its logarithm, at most 100 (Swin V2, sec. 3.2): (h, 1, 1) -> (h, 1, 1)."""
    wide = torch.promote_types(logit_scale.dtype, torch.float32)
    return logit_scale.to(wide).clamp(max=MAX_LOGIT_SCALE).exp()


def unit_vectors(x: Tensor, s: Tensor | float = 1.0) -> Tensor:
    """s * x / max(|x|, 1e-12) along the last axis, in fp32 or wider."""
    wide = torch.promote_types(x.dtype, torch.float32)
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide).clamp_min(1e-12)
    return x * (s / length)


def forward_chunk(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, out: Tensor, P: Tensor | None = None) -> Tensor:
    """One chunk of attention without autograd: (H, G, N, D) each, bias (H, 1, N, N); fills `out`, returns P.

    P has the type of v and goes into the tensor given, if one is. The softmax is in fp32 or wider and runs in place:
    for small chunks the whole chain stays in the cache.
    """
    logits = q @ k.mT
    wide = torch.promote_types(logits.dtype, torch.float32)
    logits = logits.add_(bias) if logits.dtype == wide else logits + bias
    torch.softmax(logits, -1, out=logits)
    P = logits.to(v.dtype) if P is None else P.copy_(logits)
    torch.bmm(P.flatten(0, 1), v.flatten(0, 1), out=out.flatten(0, 1))
    return P


def backward_chunk(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, P: Tensor, out: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """Gradients of one chunk: (H, G, N, D) each, P (H, G, N, N); fills `out` (dq, dk, dv), returns dbias (H, N, N).

    The gradient of the logits has the type of q: fp32 for V2, whose q and k are unit vectors in fp32.
    """
    shape = P.shape
    q, k, v, grad, P = (t.flatten(0, 1) for t in (q, k, v, grad, P))
    dq, dk, dv = (t.flatten(0, 1) for t in out)
    torch.bmm(P.mT, grad, out=dv)
    dP = (grad @ v.mT).to(q.dtype)
    dS = torch.ops.aten._softmax_backward_data(dP, P.to(q.dtype), -1, q.dtype)
    torch.bmm(dS, k, out=dq)
    torch.bmm(dS.mT, q, out=dk)
    return dS.view(shape).sum(1, dtype=torch.promote_types(q.dtype, torch.float32))
