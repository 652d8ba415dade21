"""Foreign checkpoints of Swin and Swin V2: recognised by their keys, read under our names, written under theirs.

- `official`: the classifier of microsoft/Swin-Transformer; also timm before 0.9;
- `dense`: the backbone of its detection and segmentation code (`norm0..3`);
- `simmim`: its pre-training files (`encoder.*`, `decoder.*`);
- `timm`: 0.9 and later, classifier or `features_only`;
- `torchvision`;
- `transformers`: for image classification, for masked image modelling, backbone, or the bare model;
- `openmmlab`: the zoo of mmdet from 2.16, mmseg from 0.17, mmpretrain;
- `muntin`: ours.

Names stand in `swin_tables`, changes of the tensors in `swin_rewrites`. Nothing is resized here: `adapt` does that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from muntin.errors import UserError

from . import rewrites as shared
from . import swin_rewrites as rewrites
from . import swin_tables as tables
from .layout import Foreign as Foreign
from .layout import Layout, read_layout, write_layout
from .swin_signs import LAYOUTS, layout_of, table_of
from .swin_sizes import sizes as sizes
from .swin_windows import pretrained_windows, stage_windows
from .wrapped import unwrap

TITLE = "Swin"  # in messages
WRITABLE = LAYOUTS[1:]  # ours needs no writing
INSIDE = {"official": "model", "dense": "model", "simmim": "model", "openmmlab": "state_dict"}  # wrapper of a .pth

_PRETRAINING = (shared.flatten_pretraining,)
_ZOO = (
    (rewrites.unfold_to_neighbours, rewrites.last_norm_to_readout),
    (rewrites.neighbours_to_unfold, rewrites.readout_norm_to_last, rewrites.grid_to_map),
)
_LAYOUTS = {
    "muntin": Layout(tables.OURS),
    "official": Layout(tables.OFFICIAL, (), (rewrites.grid_to_sequence,)),
    "dense": Layout(tables.DENSE, (), (rewrites.grid_to_map,)),
    "simmim": Layout(tables.SIMMIM, _PRETRAINING, (shared.unflatten_pretraining, rewrites.grid_to_sequence)),
    "timm": Layout(tables.TIMM),  # knows no absolute embedding
    "torchvision": Layout(tables.TORCHVISION, (rewrites.drop_key_bias,), (rewrites.add_key_bias,)),
    "transformers": Layout(
        tables.TRANSFORMERS,
        (shared.join_qkv, *_PRETRAINING, shared.norm_to_pretraining),
        (
            shared.norm_from_pretraining,
            shared.unflatten_pretraining,
            shared.split_qkv,
            rewrites.grid_to_sequence,
        ),
    ),
    "openmmlab": Layout(tables.OPENMMLAB, *_ZOO),
    "openmmlab V2": Layout(tables.OPENMMLAB_V2, *_ZOO),
}


def recognise(keys: Iterable[str]) -> str | None:
    """The layout that these keys belong to, also inside a detector's file; None if it is none of `LAYOUTS`."""
    return unwrap(keys, layout_of).layout


def read(state: Mapping[str, Tensor], grid: tuple[int, ...] | None = None) -> Foreign:
    """The tensors of a file under our names, and what else it tells.

    grid: tokens along each axis of an absolute embedding stored as a sequence, if it has so many; any other is square.
    Raises UserError for a file of no known layout, and for one with keys that its layout does not explain.
    """
    found = unwrap(state, layout_of)
    if found.layout == "transformers":
        inside, unused = _without_transformers_prefix(found.inside)
        found = found._replace(inside=inside, aside=found.aside | unused)
    to_grid = partial(rewrites.embedding_to_grid, grid=grid)
    layouts = {
        name: layout if name == "muntin" else layout._replace(read=(*layout.read, to_grid))
        for name, layout in _LAYOUTS.items()
    }
    foreign, with_buffers = read_layout(state, layouts, layout_of, TITLE, found, table_of)
    return foreign._replace(windows=stage_windows(with_buffers), pretrained_window=pretrained_windows(with_buffers))


def write(state: Mapping[str, Tensor], layout: str, settings: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
    """Our names to those of a layout out of `WRITABLE`, without the buffers that follow from sizes.

    settings: fields of the model's config that its tensors do not tell; there are none here.
    Raises UserError for tensors that the layout has no place for.
    """
    v2 = shared.is_v2(dict(state))
    if v2 and (frozen := [k for k in state if k.endswith(".position.table")]):
        raise UserError(
            f"the position bias of this Swin V2 is frozen into tables ({frozen[0]}), which no other project reads; "
            "convert the model from before it was frozen"
        )
    renamed = write_layout(state, _LAYOUTS, layout, table_of)
    if layout == "transformers":
        return _with_transformers_prefix(renamed, v2)
    if layout == "openmmlab" and "head.fc.weight" in renamed:  # a whole classifier
        return {k if k.startswith("head.") else f"backbone.{k}": tensor for k, tensor in renamed.items()}
    return renamed


# --- prefixes --------------------------------------------------------------------------------------------------------


def _without_transformers_prefix(inside: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Strip `swin.` or `swinv2.`; a backbone has norms of its levels, and a last one that no map passes through."""
    bare = {k: name.removeprefix("swin.").removeprefix("swinv2.") for k, name in inside.items()}
    levels = any(name.startswith("hidden_states_norms.") for name in bare.values())
    unused = {k: "no level of a backbone uses it" for k, n in bare.items() if levels and n.startswith("layernorm.")}
    return {k: name for k, name in bare.items() if k not in unused}, unused


def _with_transformers_prefix(state: dict[str, Tensor], v2: bool) -> dict[str, Tensor]:
    """All but heads stand under the family's name, except in a backbone, which is the family itself."""
    if any(key.startswith("hidden_states_norms.") for key in state):
        if v2:
            raise UserError("the Swin V2 backbone of transformers has no norms of its levels; write another layout")
        return state
    family = "swinv2." if v2 else "swin."
    return {k if k.startswith(("classifier.", "decoder.")) else family + k: t for k, t in state.items()}
