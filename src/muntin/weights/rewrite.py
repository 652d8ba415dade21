"""What `convert` and `adapt` have in common: the source that they read, and the model folder that they write.

A bare weights file does not tell everything that a model folder needs. The rest is filled in here: ImageNet's mean and
standard deviation (their average for one grey channel), the image size of the model's published training, numbered
classes. The report says so.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from muntin.data import PictureInput, inputs_from
from muntin.data.transforms.inputs import IMAGENET_MEAN, IMAGENET_STD
from muntin.errors import UserError
from muntin.files import flush, read_tensors
from muntin.formats.layout import Pixels
from muntin.ops.windows import Size
from muntin.weights.folder import save_model
from muntin.weights.identify import Identified, identify
from muntin.weights.load import weights_file


class Described(NamedTuple):
    """What a model folder says besides its weights."""

    classes: tuple[str, ...]
    inputs: dict[str, Any]
    notes: tuple[str, ...]  # what was taken from here, because the file does not tell


def read_source(source: Path, model: str) -> tuple[Path, Identified]:
    path = weights_file(source)
    return path, identify(read_tensors(path), path, model)


def check_free(out: Path, overwrite: bool, *, folder: bool) -> None:
    if out.exists() and not overwrite:
        raise UserError(f"{out} exists; choose another place, or replace it with --overwrite (overwrite=True)")
    if out.exists() and out.is_dir() != folder:
        there, needed = ("file", "folder") if folder else ("folder", "file")
        raise UserError(f"{out} is a {there}, and a {needed} is to be written; choose another place")


def check_all_known(path: Path, known: Identified) -> None:
    """Raise UserError if the file leaves open what no tensor shows: windows, or the heads of an unpublished size."""
    named = known.named
    for field in named.open:
        what = known.told.family.hidden[field]
        if named.of_another_size:
            raise UserError(
                f"{path} does not tell its {what}, and is of no published size; convert the model folder or run that "
                "it came from, whose config.json tells"
            )
        names = (named.name, *named.also)
        raise UserError(
            f"{path} does not tell its {what}, and fits {', '.join(names)}; say which it is with --model (model=...)"
        )


# --- what a model folder says beside its weights ----------------------------------------------------------------------


def numbered(classes: int) -> tuple[str, ...]:
    """Names for classes that have none."""
    return tuple(map(str, range(classes)))


def described(known: Identified) -> Described:
    """What config.json says, or the values that replace it."""
    classes = known.classes or numbered(known.told.num_classes)
    if known.config and known.config["inputs"]:
        return Described(classes, inputs_from(known.config["inputs"]).to_dict(), ())
    values, notes = inputs_for(known.told.fields["in_chans"], known.image_size, {}, known.pixels)
    return Described(classes, values, notes + (note_on_names(classes) if not known.classes else ()))


def note_on_names(classes: tuple[str, ...]) -> tuple[str, ...]:
    """A note for classes that have numbers for names."""
    return (f"class names: numbers, 0 to {len(classes) - 1}",) if classes and classes == numbered(len(classes)) else ()


def note_on_pixels(values: Mapping[str, Any], whose: str = "") -> str:
    (height, width), mean, std = values["image_size"], list(values["mean"]), list(values["std"])
    return f"preprocessing: {whose}mean {mean} and std {std}, {height} x {width} pixels"


def inputs_for(
    channels: int,
    size: Size,
    known: Mapping[str, Any],
    pixels: Pixels | None = None,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The inputs of a model folder for this number of channels and this size, and notes on what the file did not tell.

    known: from its model folder. pixels: mean and standard deviation that its project uses.
    """
    if channels not in (1, 3):
        return {}, (f"preprocessing: none, pictures here have 1 or 3 channels and the model takes {channels}",)
    if known and len(known["mean"]) == channels:
        return inputs_from(dict(known) | {"image_size": list(size)}).to_dict(), ()
    told = (known["mean"], known["std"]) if known else pixels
    both = told or (IMAGENET_MEAN, IMAGENET_STD)
    mean, std = (list(v) if len(v) == channels else [round(sum(v) / len(v), 3)] * channels for v in both)
    values = PictureInput().to_dict() | dict(known) | {"image_size": list(size), "mean": mean, "std": std}
    whose = "" if told else "ImageNet's "
    return inputs_from(values).to_dict(), (note_on_pixels(values, whose),)


# --- the folder ------------------------------------------------------------------------------------------------------


def save(folder: Path, name: str, model: nn.Module, kind: str, described: Described) -> None:
    save_model(folder, name, model, kind=kind, classes=described.classes, inputs=described.inputs)


def make_folder(out: Path, fill: Callable[[Path], None]) -> None:
    """Fill a new folder, which then gets its name; an existing one keeps its other files."""
    if out.exists():
        fill(out)
        return
    new = out.parent / f".{out.name}.next"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        fill(new)
        flush(new)
        new.rename(out)
        flush(out.parent)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
