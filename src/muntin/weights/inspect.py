"""What a weights file, model folder, run or checkpoint is: layout, model, windows, classes and damage."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

from torch import Tensor

from muntin.engine import checkpoint
from muntin.errors import UserError
from muntin.files import config_beside, open_tensors
from muntin.files.sums import check_recorded, has_sums
from muntin.weights.identify import empty_model, identify, misfits
from muntin.weights.load import weights_file
from muntin.weights.read import files_of


@dataclasses.dataclass(kw_only=True)
class Inspection:
    """What a file holds, as far as it tells. None: it does not tell."""

    file: str
    bytes: int
    layout: str | None = None  # one of the family's
    wrapped_in: str = ""  # the larger model that it is the backbone of
    kind: str | None = None  # "classifier", "simmim", "backbone"
    family: str | None = None  # "Swin", "SwinV2"
    model: str | None = None  # nearest name of the catalog
    also: tuple[str, ...] = ()  # other names that fit as well
    differs: dict[str, Any] = dataclasses.field(default_factory=dict)  # fields of the config, from that name
    depths: tuple[int, ...] | None = None  # one a stage; a family without stages has one
    dim: int | None = None  # channels of the first stage
    heads: tuple[int, ...] | int | None = None  # one a stage, where they have so many
    window: tuple[tuple[int, int], ...] | None = None  # one a stage
    pretrained_window: tuple[tuple[int, int], ...] | None = None  # scale of V2's position bias, one a stage
    in_chans: int | None = None
    num_classes: int | None = None
    classes: tuple[str, ...] = ()  # their names, where a config.json has them
    tensors: int = 0
    parameters: int = 0  # numbers in them; of a known layout without what follows from sizes
    dtypes: dict[str, int] = dataclasses.field(default_factory=dict)  # tensors of each
    checksum: str = "none recorded"  # or "verified", "wrong"
    damage: list[str] = dataclasses.field(default_factory=list)


def inspect(place: str | Path) -> Inspection:
    """Look at a file, model folder, run folder or checkpoint, damaged or not. Unpickles and runs nothing.

    Raises UserError if there is nothing to look at. `damage` lists everything that is wrong with it.
    """
    path = weights_file(place)
    if not path.is_file():  # a device or a pipe, which may never end
        raise UserError(f"{path} is no file; give a run folder, a model folder or a weights file")
    seen = Inspection(file=str(path), bytes=path.stat().st_size)
    if (path.parent.parent / checkpoint.MANIFEST).is_file() and (fault := checkpoint.damage(path.parent.parent)):
        seen.damage.append(f"the checkpoint around it: {fault}")
    _check_sums(path, seen)
    try:
        tensors = open_tensors(path)
    except UserError as error:
        seen.damage.append(str(error))
        return seen
    seen.tensors, seen.parameters = len(tensors), sum(t.numel() for t in tensors.values())
    seen.dtypes = dict(Counter(str(t.dtype).removeprefix("torch.") for t in tensors.values()))
    files = files_of(tensors)
    if files is None:
        return seen
    seen.layout = files.recognise(tensors)
    try:
        _look_at(tensors, path, seen)
    except UserError as error:
        if str(error) not in seen.damage:  # of the config.json, which is read again
            seen.damage.append(str(error))
    return seen


def _check_sums(path: Path, seen: Inspection) -> None:
    """Whether size and checksum are those that were written."""
    try:
        config = config_beside(path)
        check_recorded(path)
        seen.checksum = "verified" if config and has_sums(config) else "none recorded"
    except UserError as error:
        seen.checksum = "wrong"
        seen.damage.append(str(error))


def _look_at(tensors: dict[str, Tensor], path: Path, seen: Inspection) -> None:
    found, told, named, _, classes, *_ = identify(tensors, path)
    seen.wrapped_in, seen.parameters = found.wrapped_in, sum(t.numel() for t in found.tensors.values())
    seen.family, seen.kind, seen.num_classes = told.family.title, told.kind, told.num_classes
    for field in ("depths", "dim", "heads", "window", "pretrained_window", "in_chans"):
        setattr(seen, field, told.fields.get(field))
    told_depth, told_dims = told.fields.get("depth"), told.fields.get("dims")
    seen.depths = (told_depth,) if told_depth else seen.depths
    seen.dim = told_dims[0] if told_dims else seen.dim
    seen.model, seen.also, seen.differs = named.name, named.also, named.changes
    seen.classes = classes
    model = empty_model(named, told, found.tensors)
    if wrong := misfits(found.tensors, model):
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        seen.damage.append(f"as {named.name} it is not whole: {wrong[0]}{more}")
    if strange := [key for key, t in found.tensors.items() if t.is_floating_point() and not t.isfinite().all()]:
        seen.damage.append(f"{len(strange)} tensors hold values that are not finite, such as {strange[0]}")
