"""Reads and writes the layouts of one family: its tensors under other projects' names.

A family's file (`swin.py`, `vit.py`, ...) says in one `Files` which layouts there are, how a set of keys shows which it
is, and what each stores differently. This file uses that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from muntin.errors import UserError, unknown

from .rename import Table, backwards, rename, rename_keys
from .wrapped import Unwrapped, unwrap

State = dict[str, Tensor]
Rewrite = Callable[[State], None]  # of tensors under our names, in place
LayoutOf = Callable[[set[str]], str | None]  # the layout of a backbone's own keys, None if they are of none
Pixels = tuple[tuple[float, ...], tuple[float, ...]]  # mean and standard deviation of each channel

# what a file keeps beside its weights and a model computes: read for what it tells, then left aside
BUFFERS = ("relative_position_index", "relative_coords_table", "attn_mask")
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_OUR_PARTS = ("backbone.", "readout.", "norms.", "norm.", "decoder.", "mask_token")
_COUNTER = "num_batches_tracked"  # of batch norm, the one whole number among weights


class Layout(NamedTuple):
    """The names of a layout, and what it stores differently."""

    table: Table  # foreign -> ours
    read: tuple[Rewrite, ...] = ()
    write: tuple[Rewrite, ...] = ()


class Foreign(NamedTuple):
    """The content of a foreign file."""

    layout: str  # one of `Files.layouts`
    tensors: State  # under our names
    dropped: dict[str, str]  # foreign key -> why it was left aside
    wrapped_in: str = ""  # what the backbone was a part of, "" where the file is its own
    settings: Mapping[str, Any] = {}  # fields of the config that the file tells, and no tensor under our names


class Sizes(NamedTuple):
    """What the shapes of tensors under our names tell."""

    family: str  # a name of `catalog.FAMILIES`
    kind: str  # "classifier", "simmim" (pre-training), "backbone" (with or without norms of its levels)
    num_classes: int  # 0: no head
    fields: dict[str, Any]  # of the family's config, those that shapes tell


def _nothing(*_: Any) -> dict[str, Any]:
    return {}


def _no_words(*_: Any) -> str:
    return ""


def _as_it_is(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> State:
    return dict(state)


class Files(NamedTuple):
    """The weights files of a family: what others call its tensors and its settings, and how that shows."""

    title: str  # in messages
    layouts: tuple[str, ...]  # that are read; the first is ours
    layout_of: LayoutOf
    read: Callable[[Mapping[str, Tensor], tuple[int, ...] | None], Foreign]  # the file, cells of its positions
    write: Callable[[Mapping[str, Tensor], str, Mapping[str, Any]], State]  # our tensors, layout, fields of the config
    sizes: Callable[[Mapping[str, Tensor]], Sizes]
    inside: Mapping[str, str] = {}  # layout -> what its project puts the tensors of a .pth under
    arrays: tuple[str, ...] = ()  # layouts that are kept in .npz
    pixels: Mapping[str, Pixels] = {}  # layout -> what its code takes pixels with, where that is not ImageNet's
    settings: tuple[str, ...] = ()  # fields of the config that no tensor tells, and a config.json of ours does
    told_by_ours: Callable[[Mapping[str, Any], Mapping[str, Tensor]], dict[str, Any]] = _nothing  # others, likewise
    told_by_transformers: Callable[[Mapping[str, Any], Mapping[str, Tensor]], dict[str, Any]] = _nothing
    mismatch: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], str] = _no_words  # file, model -> why not, if so
    spread: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], State] = _as_it_is  # file -> as the model has them
    otherwise: Callable[[str, Mapping[str, Any]], str] = _no_words  # layout, config -> what its code computes otherwise
    tag: str = ""  # on the Hub, where it is not the title

    @property
    def writable(self) -> tuple[str, ...]:
        """Ours needs no writing."""
        return self.layouts[1:]

    def recognise(self, tensors: Mapping[str, Tensor]) -> str | None:
        """The layout that these names and shapes belong to, also inside a detector's file; None if it is none."""
        return None if clip_kernel(tensors) else self.recognise_names(tensors)

    def recognise_names(self, keys: Iterable[str]) -> str | None:
        """The same by names alone."""
        return unwrap(keys, self.layout_of).layout


def _no_sizes(tensors: Mapping[str, Tensor]) -> Sizes:
    raise UserError("these tensors are of a model that the catalog does not know; load them into it in Python")


OURS_ALONE = Files(  # of a model that no catalog knows
    title="model of its own",
    layouts=("muntin",),
    layout_of=lambda keys: "muntin" if keys and all(key.startswith(_OUR_PARTS) for key in keys) else None,
    read=lambda state, grid: Foreign("muntin", dict(state), {}),
    write=lambda state, layout, settings: dict(state),
    sizes=_no_sizes,
)


def clip_kernel(tensors: Mapping[str, Tensor]) -> str:
    """The first kernel with an axis of time. A file that has one is not of the picture model whose names it has."""
    return next((key for key, tensor in tensors.items() if tensor.ndim == 5), "")


def kind_of(tensors: Mapping[str, Tensor]) -> tuple[str, int]:
    """`Sizes.kind` and the number of classes of tensors under our names."""
    head = tensors.get("readout.head.weight")
    kind = "simmim" if "mask_token" in tensors else "classifier" if "readout.norm.weight" in tensors else "backbone"
    return kind, head.shape[0] if head is not None and head.ndim else 0


def depths_of(tensors: Mapping[str, Tensor], start: str = "backbone.stages.") -> tuple[int, ...]:
    """Blocks of each stage, as counted in names `{start}{stage}.{block}.*`. Raises KeyError for a stage left out."""
    depths: dict[int, int] = {}
    for key in tensors:
        if key.startswith(start):
            stage, block = map(int, key.removeprefix(start).split(".")[:2])
            depths[stage] = max(depths.get(stage, 0), block + 1)
    for stage in range(len(depths)):
        if stage not in depths:
            raise KeyError(f"{start}{stage}")
    return tuple(depths[stage] for stage in range(len(depths)))


def read_layout(
    state: Mapping[str, Tensor],
    layouts: Mapping[str, Layout],
    layout_of: LayoutOf,
    title: str,
    found: Unwrapped | None = None,
    table_of: Callable[[str, Iterable[str]], str] = lambda layout, keys: layout,
) -> tuple[Foreign, State]:
    """Read the tensors of a file under our names. Also returns the same before any rewrite, with the buffers.

    title: of the family, for messages. found: the backbone in the file, if it was found already. table_of: the name in
    `layouts` for a layout of two tables. Raises UserError for a file of no known layout, and for one with keys that its
    layout does not explain.
    """
    inside, aside, wrapped_in, layout = found or unwrap(state, layout_of)
    if layout is None:
        shown = f"the first keys are {', '.join(list(state)[:3])}" if state else "the file holds no tensors"
        raise UserError(f"these are no {title} weights in any known layout ({', '.join(layouts)}); {shown}")
    source = _reversed(inside)
    known = layouts[table_of(layout, source)]
    renamed, left = rename_keys(source, known.table)
    if left:
        shown = ", ".join(source[name] for name in left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
        raise UserError(f"this looks like the {layout} layout of {title}, but has keys it does not explain: {shown}")
    with_buffers = {new: state[source[name]] for name, new in renamed.items()}
    tensors = {k: t for k, t in with_buffers.items() if not k.endswith(BUFFERS)}
    aside = aside | {source[n]: "follows from sizes" for n, new in renamed.items() if new.endswith(BUFFERS)}
    _check_numbers(tensors)
    try:
        for rewrite in known.read:
            rewrite(tensors)
    except (RuntimeError, IndexError, KeyError, ValueError) as error:  # other axes, or a length that does not divide
        if isinstance(error, UserError):
            raise
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"this looks like the {layout} layout of {title}, but has tensors of other shapes ({reason}); is it "
            "damaged?"
        ) from error
    tensors = {key: tensor.contiguous() for key, tensor in tensors.items()}
    return Foreign(layout, tensors, aside, wrapped_in=wrapped_in), with_buffers


def write_layout(
    state: Mapping[str, Tensor],
    layouts: Mapping[str, Layout],
    layout: str,
    table_of: Callable[[str, Iterable[str]], str] = lambda layout, keys: layout,
) -> State:
    """Our names to those of a layout, without the buffers that follow from sizes.

    Raises UserError for an unknown layout ("muntin" needs no writing) and for tensors that it has no place for.
    """
    writable = [name for name in layouts if name != "muntin"]
    if table_of(layout, state) not in writable:
        raise unknown("layout to write", layout, writable)
    tensors, known = dict(state), layouts[table_of(layout, state)]
    for rewrite in known.write:
        rewrite(tensors)
    renamed, left = rename(tensors, backwards(known.table))
    if left:
        hint = ""
        if layout in ("dense", "simmim") and any(key.startswith("readout.") for key in left):
            hint = "; this is a classifier: detection, segmentation and pre-training code reads its official layout"
        raise UserError(f"these tensors have no name in the {layout} layout: {', '.join(left[:5])}{hint}")
    return {key: tensor.contiguous() for key, tensor in renamed.items()}


def _reversed(inside: Mapping[str, str]) -> dict[str, str]:
    """The key of the file that has each name. Two keys with one name, under two prefixes, are refused."""
    source: dict[str, str] = {}
    for key, name in inside.items():
        if source.setdefault(name, key) != key:
            raise UserError(
                f"the file holds one tensor twice, as {source[name]} and as {key}; remove the one not meant"
            )
    return source


def _check_numbers(tensors: Mapping[str, Tensor]) -> None:
    """Raise UserError for numbers that would not load exactly: integers, complex and 8-bit ones, and for no numbers."""
    for key, tensor in tensors.items():
        counts = key.endswith(_COUNTER) and tensor.dtype == torch.int64
        if tensor.dtype not in _DTYPES and not counts:
            name = str(tensor.dtype).removeprefix("torch.")
            raise UserError(f"{key} is of type {name} in the file; weights are float16, bfloat16, float32 or float64")
        if not tensor.numel():
            raise UserError(f"{key} is of shape {tuple(tensor.shape)} in the file and holds nothing; it is damaged")
