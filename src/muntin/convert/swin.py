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
from typing import NamedTuple

import torch
from torch import Tensor

from muntin.errors import UserError, unknown

from . import swin_rewrites as rewrites
from . import swin_tables as tables
from .rename import Table, backwards, rename, rename_keys
from .swin_signs import LAYOUTS, layout_of, table_of
from .swin_windows import Windows, pretrained_windows, stage_windows
from .wrapped import unwrap

WRITABLE = LAYOUTS[1:]  # ours needs no writing
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Foreign(NamedTuple):
    """What a foreign file holds."""

    layout: str  # one of LAYOUTS
    tensors: dict[str, Tensor]  # under our names
    dropped: dict[str, str]  # foreign key -> why it was left aside
    windows: Windows | None = None  # of every stage, tokens; None where the file does not tell
    pretrained_window: Windows | None = None  # V2: what sets the scale of its position bias, where the file tells
    wrapped_in: str = ""  # what the backbone was a part of, "" where the file is its own


class _Layout(NamedTuple):
    table: Table
    read: tuple[rewrites.Rewrite, ...] = ()
    write: tuple[rewrites.Rewrite, ...] = ()


_PRETRAINING = (rewrites.flatten_pretraining,)
_ZOO = (
    (rewrites.unfold_to_neighbours, rewrites.last_norm_to_readout),
    (rewrites.neighbours_to_unfold, rewrites.readout_norm_to_last, rewrites.grid_to_map),
)
_LAYOUTS = {
    "muntin": _Layout(tables.OURS),
    "official": _Layout(tables.OFFICIAL, (), (rewrites.grid_to_sequence,)),
    "dense": _Layout(tables.DENSE, (), (rewrites.grid_to_map,)),
    "simmim": _Layout(tables.SIMMIM, _PRETRAINING, (rewrites.unflatten_pretraining, rewrites.grid_to_sequence)),
    "timm": _Layout(tables.TIMM),  # knows no absolute embedding
    "torchvision": _Layout(tables.TORCHVISION, (rewrites.drop_key_bias,), (rewrites.add_key_bias,)),
    "transformers": _Layout(
        tables.TRANSFORMERS,
        (rewrites.join_qkv, *_PRETRAINING, rewrites.norm_to_pretraining),
        (
            rewrites.norm_from_pretraining,
            rewrites.unflatten_pretraining,
            rewrites.split_qkv,
            rewrites.grid_to_sequence,
        ),
    ),
    "openmmlab": _Layout(tables.OPENMMLAB, *_ZOO),
    "openmmlab V2": _Layout(tables.OPENMMLAB_V2, *_ZOO),
}


def recognise(keys: Iterable[str]) -> str | None:
    """The layout that these keys belong to, also inside a detector's file; None if it is none of `LAYOUTS`."""
    return unwrap(keys, layout_of).layout


def read(state: Mapping[str, Tensor], grid: tuple[int, ...] | None = None) -> Foreign:
    """The tensors of a file under our names, and what else it tells.

    grid: tokens along each axis of an absolute embedding stored as a sequence, if it has so many; any other is square.
    Raises UserError for a file of no known layout, and for one with keys that its layout does not explain.
    """
    inside, aside, wrapped_in, layout = unwrap(state, layout_of)
    if layout is None:
        shown = f"the first keys are {', '.join(list(state)[:3])}" if state else "the file holds no tensors"
        raise UserError(f"these are no Swin weights in any known layout ({', '.join(LAYOUTS)}); {shown}")
    if layout == "transformers":
        inside, unused = _without_transformers_prefix(inside)
        aside |= unused
    source = _reversed(inside)
    known = _LAYOUTS[table_of(layout, source)]
    renamed, left = rename_keys(source, known.table)
    if left:
        shown = ", ".join(source[name] for name in left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
        raise UserError(f"this looks like the {layout} layout of Swin, but has keys it does not explain: {shown}")
    with_buffers = {new: state[source[name]] for name, new in renamed.items()}
    tensors = {k: t for k, t in with_buffers.items() if not k.endswith(tables.BUFFERS)}
    aside |= {source[n]: "follows from sizes" for n, new in renamed.items() if new.endswith(tables.BUFFERS)}
    _check_numbers(tensors)
    try:
        for rewrite in known.read:
            rewrite(tensors)
        if layout != "muntin":
            rewrites.embedding_to_grid(tensors, grid)
    except (RuntimeError, IndexError) as error:  # a tensor of other axes or a length that does not divide
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"this looks like the {layout} layout of Swin, but has tensors of other shapes ({reason}); is it damaged?"
        ) from error
    tensors = {key: tensor.contiguous() for key, tensor in tensors.items()}
    return Foreign(layout, tensors, aside, stage_windows(with_buffers), pretrained_windows(with_buffers), wrapped_in)


def write(state: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
    """Our names to those of a layout out of `WRITABLE`, without the buffers that follow from sizes.

    Raises UserError for tensors that the layout has no place for.
    """
    if layout not in WRITABLE:
        raise unknown("layout to write", layout, WRITABLE)
    tensors = dict(state)
    frozen = [k for k in tensors if k.endswith(".position.table")]
    if frozen and rewrites.is_v2(tensors):
        raise UserError(
            f"the position bias of this Swin V2 is frozen into tables ({frozen[0]}), which no other project reads; "
            "convert the model from before it was frozen"
        )
    known = _LAYOUTS[table_of(layout, tensors)]
    for rewrite in known.write:
        rewrite(tensors)
    renamed, left = rename(tensors, backwards(known.table))
    if left:
        hint = ""
        if layout in ("dense", "simmim") and any(key.startswith("readout.") for key in left):
            hint = "; this is a classifier: detection, segmentation and pre-training code reads its official layout"
        raise UserError(f"these tensors have no name in the {layout} layout: {', '.join(left[:5])}{hint}")
    if layout == "transformers":
        renamed = _with_transformers_prefix(renamed, rewrites.is_v2(tensors))
    elif layout == "openmmlab" and "head.fc.weight" in renamed:  # a whole classifier
        renamed = {k if k.startswith("head.") else f"backbone.{k}": tensor for k, tensor in renamed.items()}
    return {key: tensor.contiguous() for key, tensor in renamed.items()}


def _reversed(inside: Mapping[str, str]) -> dict[str, str]:
    """Which key of the file has each name; two with one, under two prefixes, are refused."""
    source: dict[str, str] = {}
    for key, name in inside.items():
        if source.setdefault(name, key) != key:
            raise UserError(
                f"the file holds one tensor twice, as {source[name]} and as {key}; remove the one not meant"
            )
    return source


def _check_numbers(tensors: Mapping[str, Tensor]) -> None:
    """Raise UserError for what would load with a loss or not at all: integers, complex, 8-bit and no numbers."""
    for key, tensor in tensors.items():
        if tensor.dtype not in _DTYPES:
            name = str(tensor.dtype).removeprefix("torch.")
            raise UserError(f"{key} is of type {name} in the file; weights are float16, bfloat16, float32 or float64")
        if not tensor.numel():
            raise UserError(f"{key} is of shape {tuple(tensor.shape)} in the file and holds nothing; it is damaged")


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
