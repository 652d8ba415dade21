"""Which layout of Swin and Swin V2 a set of keys belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterable

LAYOUTS = ("muntin", "official", "dense", "simmim", "timm", "torchvision", "transformers", "openmmlab")

_SIGNS = {  # of these, `official` has two relatives that `_official_kind` tells apart
    "muntin": r"backbone\.stages\.\d+\.\d+\.mix\.(qkv|position)\..*",
    "openmmlab": r"stages\.\d+\.blocks\.\d+\.attn\.w_msa\..*",
    "transformers": r"(swin\.|swinv2\.)?encoder\.layers\.\d+\.blocks\.\d+\.attention\..*",
    "torchvision": r"features\.\d+\.\d+\.attn\..*",
    "timm": r"layers_\d+\.blocks\.\d+\.attn\..*",
    "official": r"layers\.\d+\.blocks\.\d+\.attn\..*",
    "simmim": r"encoder\.layers\.\d+\.blocks\.\d+\.attn\..*",
}


def layout_of(keys: set[str]) -> str | None:
    """The layout of a file that holds nothing around its backbone but heads."""
    for layout, sign in _SIGNS.items():
        if any(re.fullmatch(sign, key) for key in keys):
            if layout == "official":
                return _official_kind(keys)
            if layout == "simmim" and not {"encoder.mask_token", "decoder.0.weight"} & keys:
                return None  # an encoder alone, or MoBY's
            return layout
    return None


def _official_kind(keys: set[str]) -> str:
    """timm moved patch merging to the next stage; dense backbones have norms of levels and no last one."""
    stages = {int(found[1]) for k in keys if (found := re.fullmatch(r"layers\.(\d{1,4})\.blocks\..*", k))}
    merging = {int(found[1]) for k in keys if (found := re.fullmatch(r"layers\.(\d{1,4})\.downsample\..*", k))}
    if "head.fc.weight" in keys or max(stages, default=0) in merging:
        return "timm"
    return "official" if "norm.weight" in keys and "norm0.weight" not in keys else "dense"


def table_of(layout: str, keys: Iterable[str]) -> str:
    """The name of the layout's table: OpenMMLab has patch merging at the end of V1's stages, at the start of V2's."""
    v2 = layout == "openmmlab" and any(key.endswith(".logit_scale") for key in keys)
    return f"{layout} V2" if v2 else layout
