"""Checkpoints of Swin and Swin V2 under their official names, whose tensors keep their shapes but for one.

Layouts: `classifier` (microsoft/Swin-Transformer), `dense` (backbones of the detection and segmentation code, with
`norm0..3`), `simmim` (pre-training files: `encoder.*`, `decoder.*`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from muntin.errors import UserError

from .rename import backwards, matches, rename

_BACKBONE = {  # official -> ours
    "patch_embed.*": "backbone.patch_embed.*",
    "absolute_pos_embed": "backbone.absolute_position.embedding",
    "layers.{s}.blocks.{b}.attn.relative_position_bias_table": "backbone.stages.{s}.{b}.mix.position.table",
    "layers.{s}.blocks.{b}.attn.cpb_mlp.0.*": "backbone.stages.{s}.{b}.mix.position.fc1.*",
    "layers.{s}.blocks.{b}.attn.cpb_mlp.2.*": "backbone.stages.{s}.{b}.mix.position.fc2.*",
    "layers.{s}.blocks.{b}.attn.q_bias": "backbone.stages.{s}.{b}.mix.qkv.q_bias",
    "layers.{s}.blocks.{b}.attn.v_bias": "backbone.stages.{s}.{b}.mix.qkv.v_bias",
    "layers.{s}.blocks.{b}.attn.*": "backbone.stages.{s}.{b}.mix.*",
    "layers.{s}.blocks.{b}.*": "backbone.stages.{s}.{b}.*",
    "layers.{s}.downsample.*": "backbone.merges.{s}.*",
}
RENAME = {
    "classifier": {**_BACKBONE, "norm.*": "readout.norm.*", "head.*": "readout.head.*"},
    "dense": {**_BACKBONE, "norm{s}.*": "norms.norms.{s}.*"},
    "simmim": {
        "encoder.mask_token": "mask_token",
        "encoder.norm.*": "norm.*",
        **{f"encoder.{old}": new for old, new in _BACKBONE.items()},
        "decoder.0.*": "decoder.*",
    },
}
DROP = [
    "*.relative_position_index",
    "*.relative_coords_table",
    "*.attn_mask",
]  # follow from sizes; some files lack them


def recognise(keys: set[str]) -> str | None:
    """The layout that these keys belong to, None if it is none of them."""
    if any(k.startswith("encoder.layers.") for k in keys):
        return "simmim"
    if not any(k.startswith("layers.0.blocks.0.attn.") for k in keys):
        return None
    return "dense" if "norm0.weight" in keys or "norm.weight" not in keys else "classifier"


def read(state: Mapping[str, Tensor], grid: tuple[int, ...] | None = None) -> dict[str, Tensor]:
    """Official names to ours. grid: tokens along each axis of the absolute embedding, default square.

    Raises UserError for a key that is neither known nor known to be superfluous.
    """
    # released SimMIM files of V2 say rpe_mlp where the code says cpb_mlp
    state = {k.replace(".rpe_mlp.", ".cpb_mlp."): v for k, v in state.items() if not matches(k, DROP)}
    layout = recognise(set(state))
    if layout is None:
        raise UserError(
            f"these are no Swin weights under official names; the first keys are {', '.join(list(state)[:3])}"
        )
    renamed, left = rename(state, RENAME[layout])
    if left:
        raise UserError(f"looks like the official {layout} layout of Swin, but has unknown keys: {', '.join(left[:5])}")
    _reshape(renamed, "backbone.absolute_position.embedding", lambda t: _to_grid(t, grid))
    _reshape(renamed, "mask_token", lambda t: t.flatten())
    _reshape(renamed, "decoder.weight", lambda t: t.flatten(1))
    return renamed


def write(state: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
    """Our names to the official ones of a layout, without the buffers that follow from sizes."""
    renamed, left = rename(state, backwards(RENAME[layout]))
    if left:
        raise UserError(f"these tensors have no name in the official {layout} layout: {', '.join(left[:5])}")
    prefix = "encoder." if layout == "simmim" else ""
    if layout == "dense":
        _reshape(renamed, "absolute_pos_embed", lambda t: t.movedim(-1, 0)[None])
    else:
        _reshape(renamed, f"{prefix}absolute_pos_embed", lambda t: t.flatten(0, -2)[None])
    _reshape(renamed, "encoder.mask_token", lambda t: t[None, None])
    _reshape(renamed, "decoder.0.weight", lambda t: t[:, :, None, None])
    return renamed


def _reshape(state: dict[str, Tensor], key: str, how) -> None:
    if key in state:
        state[key] = how(state[key])


def _to_grid(embedding: Tensor, grid: tuple[int, ...] | None) -> Tensor:
    """(1, L, C) of the classifier or (1, C, H, W) of the dense backbone -> (H, W, C)."""
    if embedding.ndim == 4:
        return embedding[0].movedim(0, -1)
    L = embedding.shape[1]
    grid = grid or (math.isqrt(L),) * 2
    if math.prod(grid) != L:
        raise UserError(
            f"an absolute embedding of {L} cells does not fit a grid of {grid}; say which grid it was made for"
        )
    return embedding[0].unflatten(0, grid)
