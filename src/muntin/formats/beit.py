"""Foreign checkpoints of BEiT, the ViT of SimMIM: recognised by their keys, read and written as any family's.

- `official`: the fine-tuned ViT of microsoft/SimMIM; also microsoft/unilm's BEiT and timm's, which have the same names;
- `simmim`: SimMIM's pre-training files (`encoder.*`, `decoder.*`), one bias table for all blocks;
- `muntin`: ours.

A table of the bias shared by all blocks stays one; `spread_bias` copies it to blocks that have their own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from muntin.errors import unknown

from .layout import Files, Foreign, Layout, Sizes, kind_of, read_layout, write_layout
from .rename import nested
from .rewrites import flatten_pretraining, unflatten_pretraining
from .vit import FILES as VIT
from .vit import count
from .vit_rewrites import grid_to_positions, mean_norm_to_norm, norm_to_mean_norm, positions_to_grid

_BACKBONE = {
    "cls_token": "backbone.prefix.class_token",
    "patch_embed.proj.*": "backbone.patch_embed.proj.*",
    "rel_pos_bias.relative_position_bias_table": "backbone.shared_bias.table",
    "rel_pos_bias.relative_position_index": "backbone.shared_bias.relative_position_index",
    **nested(
        "blocks.{b}.",
        "backbone.blocks.{b}.",
        {
            "norm1.*": "norm1.*",
            "attn.qkv.weight": "mix.qkv.weight",
            "attn.q_bias": "mix.qkv.q_bias",
            "attn.v_bias": "mix.qkv.v_bias",
            "attn.proj.*": "mix.proj.*",
            "attn.relative_position_bias_table": "bias.table",
            "attn.relative_position_index": "bias.relative_position_index",
            "gamma_1": "scale1.gamma",
            "norm2.*": "norm2.*",
            "mlp.fc1.*": "mlp.fc1.*",
            "mlp.fc2.*": "mlp.fc2.*",
            "gamma_2": "scale2.gamma",
        },
    ),
}
_OFFICIAL = {
    **_BACKBONE,
    "norm.*": "readout.norm.*",
    "fc_norm.*": "readout.mean_norm.*",
    "head.*": "readout.head.*",
}
_SIMMIM = {
    "encoder.mask_token": "mask_token",
    "encoder.norm.*": "norm.*",
    **nested("encoder.", "", _BACKBONE),
    "decoder.0.*": "decoder.*",
}
_OURS = {
    ours: ours
    for table in (_OFFICIAL, _SIMMIM)
    for ours in table.values()
    if ".mean_norm." not in ours and not ours.endswith("relative_position_index")
}
_LAYOUTS = {
    "muntin": Layout(_OURS),
    "official": Layout(_OFFICIAL, (positions_to_grid, mean_norm_to_norm), (grid_to_positions,)),
    "simmim": Layout(_SIMMIM, (positions_to_grid, flatten_pretraining), (grid_to_positions, unflatten_pretraining)),
}
_WRITABLE = tuple(_LAYOUTS)[1:]  # ours needs no writing

_SIGNS = {
    "muntin": r"backbone\.blocks\.\d+\.mix\.qkv\.q_bias",
    "simmim": r"encoder\.blocks\.\d+\.attn\.q_bias",
    "official": r"blocks\.\d+\.attn\.q_bias",
}


def read(state: Mapping[str, Tensor], grid: tuple[int, ...] | None = None) -> Foreign:
    """The tensors of a file under our names. Settings tell what is classified ("readout").

    grid: as for other families; no tensor here depends on it.
    Raises UserError for a file of no known layout, and for one with keys that its layout does not explain.
    """
    foreign, as_stored = read_layout(state, _LAYOUTS, _layout_of, "BEiT")
    if foreign.layout != "official":
        return foreign
    mean_norm = "readout.mean_norm.weight" in as_stored
    return foreign._replace(settings={"readout": "mean_norm" if mean_norm else "token"})


def write(state: Mapping[str, Tensor], layout: str, settings: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
    """Turn our names into those of another layout, without the indices that follow from sizes.

    settings: {"readout": "token"} for a model that classifies its class token; else it is the mean over the cells.
    Raises UserError for tensors that the layout has no place for.
    """
    if layout not in _WRITABLE:
        raise unknown("layout to write", layout, _WRITABLE)
    known = _LAYOUTS[layout]
    if (settings or {}).get("readout") != "token":
        known = known._replace(write=(*known.write, norm_to_mean_norm))
    return write_layout(state, {layout: known}, layout)


def sizes(tensors: Mapping[str, Tensor]) -> Sizes:
    """What shapes tell; they do not tell a grid that is not square. tensors: under our names.

    Raises KeyError, IndexError, ValueError or ZeroDivisionError if tensors that tell the sizes are missing.
    """
    t = tensors
    kernel = t["backbone.patch_embed.proj.weight"]
    dim, shared = kernel.shape[0], "backbone.shared_bias.table" in t
    rows, heads = t["backbone.shared_bias.table" if shared else "backbone.blocks.0.bias.table"].shape
    fields: dict[str, Any] = {
        "patch": tuple(kernel.shape[2:]),
        "in_chans": kernel.shape[1],
        "dim": dim,
        "depth": count(t, "backbone.blocks."),
        "heads": heads,
        "mlp_ratio": t["backbone.blocks.0.mlp.fc1.weight"].shape[0] / dim,
        "shared_bias": shared,
    }
    side = math.isqrt(max(rows - 3, 0))
    fields |= {"grid": ((side + 1) // 2,) * 2} if side % 2 and side**2 == rows - 3 else {}
    return Sizes("beit", *kind_of(t), fields)


def _layout_of(keys: set[str]) -> str | None:
    """The layout of a file that has only heads around its backbone."""
    for layout, sign in _SIGNS.items():
        if any(re.fullmatch(sign, key) for key in keys):
            known = layout != "simmim" or {"encoder.mask_token", "decoder.0.weight"} & keys
            return layout if known else None  # an encoder alone
    return None


_SHARED, _BLOCK_TABLE = "backbone.shared_bias.table", r"backbone\.blocks\.\d+\.bias\.table"


def spread_bias(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy one bias table for all blocks, as SimMIM trains it, to every block if `wanted` has one for each.

    Any other state is not changed.
    """
    own = [key for key in wanted if re.fullmatch(_BLOCK_TABLE, key)]
    if not own or _SHARED not in state:
        return dict(state)
    kept = {key: tensor for key, tensor in state.items() if key != _SHARED}
    return kept | {key: state[_SHARED].clone() for key in own}


FILES = Files(
    title="BEiT",
    layouts=tuple(_LAYOUTS),
    layout_of=_layout_of,
    read=read,
    write=write,
    sizes=sizes,
    inside={"official": "model", "simmim": "model"},
    settings=VIT.settings,
    spread=spread_bias,
    otherwise=VIT.otherwise,
)
