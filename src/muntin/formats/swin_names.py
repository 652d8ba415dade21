"""The names that other projects give to the tensors of Swin and Swin V2: a table for each layout, foreign -> ours, and
the signs by which muntin recognises a layout.

The tables also have buffers that follow from sizes (`layout.BUFFERS`): they are read for the information in them, and
then left aside. None of our models has them, so none is ever written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .layout import BUFFERS
from .rename import nested

_ATTENTION = {  # official names inside `attn.` -> ours inside `mix.`
    "relative_position_bias_table": "position.table",
    "cpb_mlp.0.*": "position.fc1.*",
    "cpb_mlp.2.*": "position.fc2.*",
    "rpe_mlp.0.*": "position.fc1.*",  # released SimMIM files of V2 say rpe_mlp where the code says cpb_mlp
    "rpe_mlp.2.*": "position.fc2.*",
    "q_bias": "qkv.q_bias",
    "v_bias": "qkv.v_bias",
    "qkv.*": "qkv.*",
    "proj.*": "proj.*",
    "logit_scale": "logit_scale",
    "relative_position_index": "relative_position_index",
    "relative_coords_table": "relative_coords_table",
}
_NORMS = {"norm1.*": "norm1.*", "norm2.*": "norm2.*"}
_MERGE = {"reduction.*": "reduction.*", "norm.*": "norm.*"}
_OUR_BLOCK, _OUR_MERGE = "backbone.stages.{s}.{b}.", "backbone.merges.{s}."

_BLOCK = {
    **nested("attn.", "mix.", _ATTENTION),
    **_NORMS,
    "mlp.fc1.*": "mlp.fc1.*",
    "mlp.fc2.*": "mlp.fc2.*",
    "attn_mask": "mix.attn_mask",
}
_EMBED = {
    "patch_embed.proj.*": "backbone.patch_embed.proj.*",
    "patch_embed.norm.*": "backbone.patch_embed.norm.*",
}
_OFFICIAL_BACKBONE = {
    **_EMBED,
    "absolute_pos_embed": "backbone.absolute_position.embedding",
    **nested("layers.{s}.blocks.{b}.", _OUR_BLOCK, _BLOCK),
    **nested("layers.{s}.downsample.", _OUR_MERGE, _MERGE),
}

OFFICIAL = {**_OFFICIAL_BACKBONE, "norm.*": "readout.norm.*", "head.*": "readout.head.*"}

DENSE = {**_OFFICIAL_BACKBONE, "norm{s}.*": "norms.norms.{s}.*"}

SIMMIM = {
    "encoder.mask_token": "mask_token",
    "encoder.norm.*": "norm.*",
    **nested("encoder.", "", _OFFICIAL_BACKBONE),
    "decoder.0.*": "decoder.*",
}

OURS = {  # the names that a file of ours may have
    ours: ours
    for table in (OFFICIAL, DENSE, SIMMIM, {"": f"{_OUR_BLOCK}main_norm.*"})  # no other project has main norms
    for ours in table.values()
    if not ours.endswith(BUFFERS)
}

TIMM = {  # 0.9 and later; earlier files have the official names
    **_EMBED,
    **nested("layers.{s}.blocks.{b}.", _OUR_BLOCK, _BLOCK),
    **nested("layers_{s}.blocks.{b}.", _OUR_BLOCK, _BLOCK),  # features_only=True
    # a patch merging begins the next stage
    **nested("layers.{s+1}.downsample.", _OUR_MERGE, _MERGE),
    **nested("layers_{s+1}.downsample.", _OUR_MERGE, _MERGE),
    "norm.*": "readout.norm.*",
    "head.fc.*": "readout.head.*",
}

TORCHVISION = {  # embedding, stage, merging, stage, ... are one list
    "features.0.0.*": "backbone.patch_embed.proj.*",
    "features.0.2.*": "backbone.patch_embed.norm.*",
    **nested(
        "features.{2s+1}.{b}.",
        _OUR_BLOCK,
        {**nested("attn.", "mix.", _ATTENTION), **_NORMS, "mlp.0.*": "mlp.fc1.*", "mlp.3.*": "mlp.fc2.*"},
    ),
    **nested("features.{2s+2}.", _OUR_MERGE, _MERGE),
    "norm.*": "readout.norm.*",
    "head.*": "readout.head.*",
}

_TRANSFORMERS_BLOCK = {
    **nested(
        "attention.self.",
        "mix.",
        {
            "query.*": "qkv.query.*",
            "key.*": "qkv.key.*",
            "value.*": "qkv.value.*",
            "relative_position_bias_table": "position.table",
            "continuous_position_bias_mlp.0.*": "position.fc1.*",
            "continuous_position_bias_mlp.2.*": "position.fc2.*",
            "logit_scale": "logit_scale",
            "relative_position_index": "relative_position_index",
            "relative_coords_table": "relative_coords_table",
        },
    ),
    "attention.output.dense.*": "mix.proj.*",
    "layernorm_before.*": "norm1.*",
    "layernorm_after.*": "norm2.*",
    "intermediate.dense.*": "mlp.fc1.*",
    "output.dense.*": "mlp.fc2.*",
    # transformers 5 keeps the names above in files, but calls V1's parts by these in memory
    **nested("attention.", "mix.qkv.", {"q_proj.*": "query.*", "k_proj.*": "key.*", "v_proj.*": "value.*"}),
    "attention.o_proj.*": "mix.proj.*",
    "attention.relative_position_bias.relative_position_bias_table": "mix.position.table",
    "attention.relative_position_bias.relative_position_index": "mix.relative_position_index",
    "mlp.fc1.*": "mlp.fc1.*",
    "mlp.fc2.*": "mlp.fc2.*",
}
TRANSFORMERS = {  # without the `swin.` or `swinv2.` that stands before all but heads
    "embeddings.patch_embeddings.projection.*": "backbone.patch_embed.proj.*",
    "embeddings.norm.*": "backbone.patch_embed.norm.*",
    "embeddings.position_embeddings": "backbone.absolute_position.embedding",
    "embeddings.mask_token": "mask_token",
    **nested("encoder.layers.{s}.blocks.{b}.", _OUR_BLOCK, _TRANSFORMERS_BLOCK),
    **nested("encoder.layers.{s}.downsample.", _OUR_MERGE, _MERGE),
    "layernorm.*": "readout.norm.*",
    "classifier.*": "readout.head.*",
    "decoder.0.*": "decoder.*",
    "hidden_states_norms.stage{s+1}.*": "norms.norms.{s}.*",
}

_ZOO = {
    "patch_embed.projection.*": "backbone.patch_embed.proj.*",
    "patch_embed.norm.*": "backbone.patch_embed.norm.*",
    "absolute_pos_embed": "backbone.absolute_position.embedding",
    **nested(
        "stages.{s}.blocks.{b}.",
        _OUR_BLOCK,
        {
            **nested("attn.w_msa.", "mix.", _ATTENTION),
            **_NORMS,
            "ffn.layers.0.0.*": "mlp.fc1.*",
            "ffn.layers.1.*": "mlp.fc2.*",
        },
    ),
    "norm{s}.*": "norms.norms.{s}.*",
    "head.fc.*": "readout.head.*",
}
OPENMMLAB = {**_ZOO, **nested("stages.{s}.downsample.", _OUR_MERGE, _MERGE)}
OPENMMLAB_V2 = {**_ZOO, **nested("stages.{s+1}.downsample.", _OUR_MERGE, _MERGE)}

# --- which layout -----------------------------------------------------------------------------------------------------

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
    """The layout of a file that has only heads around its backbone."""
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
    """The name of the layout's table: in OpenMMLab, patch merging is at the end of V1's stages and at the start of
    V2's.
    """
    v2 = layout == "openmmlab" and any(key.endswith(".logit_scale") for key in keys)
    return f"{layout} V2" if v2 else layout
