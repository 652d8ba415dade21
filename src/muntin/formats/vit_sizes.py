"""The sizes of a ViT or DeiT, read off the shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .layout import Sizes, depths_of, kind_of


def sizes(tensors: Mapping[str, Tensor]) -> Sizes:
    """What shapes tell; the number of heads and what is classified they do not. tensors: under our names.

    Raises KeyError, IndexError, ValueError or ZeroDivisionError where tensors that tell it are missing.
    """
    t = tensors
    kernel = t["backbone.patch_embed.proj.weight"]
    dim, tokens = kernel.shape[0], "backbone.prefix.class_token" in t
    representation = t.get("readout.representation.weight")
    fields: dict[str, Any] = {
        "patch": tuple(kernel.shape[2:]),
        "in_chans": kernel.shape[1],
        "dim": dim,
        "depth": count(t, "backbone.blocks."),
        "mlp_ratio": t["backbone.blocks.0.mlp.fc1.weight"].shape[0] / dim,
        "grid": tuple(t["backbone.position.embedding"].shape[:-1]),
        "class_token": tokens,
        "representation": representation.shape[0] if representation is not None else 0,
    }
    fields |= {} if tokens else {"readout": "gap"}
    family = "vit"
    if "backbone.stem.root.conv.weight" in t:
        root = t["backbone.stem.root.conv.weight"]
        units = depths_of(t, "backbone.stem.stages.")
        fields |= {"in_chans": root.shape[1], "stem": units, "stem_width": root.shape[0]}
        family = "vit_hybrid"
    elif "backbone.blocks.0.scale1.gamma" in t:
        family = "deit3"
    elif "backbone.prefix.distillation_token" in t:
        fields["distilled"] = True
        family = "deit"
    return Sizes(family, *kind_of(t), fields)


def count(tensors: Mapping[str, Tensor], start: str) -> int:
    """How many numbers follow `start` in the names, if they are counted from 0."""
    return 1 + max((int(key[len(start) :].split(".")[0]) for key in tensors if key.startswith(start)), default=-1)
