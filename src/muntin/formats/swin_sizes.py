"""The sizes of a Swin or Swin V2, read off the shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .layout import Sizes, depths_of, kind_of


def sizes(tensors: Mapping[str, Tensor]) -> Sizes:
    """What shapes tell, windows aside. tensors: under our names.

    Raises KeyError, IndexError, ValueError or ZeroDivisionError where tensors that tell it are missing.
    """
    t = tensors
    depths = depths_of(t)
    v2 = any(key.endswith(".mix.logit_scale") for key in t)
    attention = [f"backbone.stages.{stage}.0.mix." for stage in range(len(depths))]
    kernel = t["backbone.patch_embed.proj.weight"]
    dim = kernel.shape[0]
    fields: dict[str, Any] = {
        "patch": tuple(kernel.shape[2:]),
        "in_chans": kernel.shape[1],
        "dim": dim,
        "depths": depths,
        "heads": tuple(len(t[f"{m}logit_scale"]) if v2 else t[f"{m}position.table"].shape[1] for m in attention),
        "mlp_ratio": len(t["backbone.stages.0.0.mlp.fc1.weight"]) / dim,
        "qkv_bias": any(f"{attention[0]}qkv.{bias}" in t for bias in ("bias", "q_bias")),
        "patch_norm": "backbone.patch_embed.norm.weight" in t,
    }
    if (embedding := t.get("backbone.absolute_position.embedding")) is not None:
        fields["absolute_position"] = tuple(embedding.shape[:-1])
    if v2:
        fields |= _extra_norms(t, depths) | {"frozen_bias": any(key.endswith(".position.table") for key in t)}
    kind, classes = kind_of(t)
    return Sizes("swin_v2" if v2 else "swin", kind, classes, fields)


def _extra_norms(tensors: Mapping[str, Tensor], depths: tuple[int, ...]) -> dict[str, Any]:
    """Period and scope of the norms on V2's main branch; none where no period explains the blocks that have one."""
    order = [(s, b) for s, depth in enumerate(depths) for b in range(depth)]
    having = {(s, b) for s, b in order if f"backbone.stages.{s}.{b}.main_norm.weight" in tensors}
    for period in range(1, len(order) + 1) if having else ():
        if having == {(s, b) for s, b in order if (b + 1) % period == 0}:
            return {"extra_norm_period": period, "extra_norm_scope": "stage"}
        if having == {block for i, block in enumerate(order) if (i + 1) % period == 0}:
            return {"extra_norm_period": period, "extra_norm_scope": "network"}
    return {"extra_norm_period": 0}
