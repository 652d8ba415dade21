"""Which model the tensors of a file are: its sizes, read off their shapes, and the catalog's nearest name."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from muntin.catalog import CATALOG, FAMILIES, Entry, Family, build_config, entry
from muntin.errors import UserError
from muntin.files import config_beside
from muntin.formats import index as families
from muntin.formats.description import describe
from muntin.formats.index import Foreign
from muntin.heads import LevelNorms
from muntin.models import Swin
from muntin.models.swin import effective_windows, stage_windows
from muntin.tasks import SimMIM
from muntin.weights.create import create_model
from muntin.weights.folder import read_config

# fields, of one family or another, that make a variant
STRUCTURE = ("dim", "dims", "depth", "depths", "heads", "extra_norm_period", "extra_norm_scope")


class Architecture(NamedTuple):
    """What the shapes of tensors tell."""

    family: Family
    kind: str  # "classifier", "simmim" (pre-training), "backbone" (with or without norms of its levels)
    num_classes: int  # 0: no head
    fields: dict[str, Any]  # of the family's config; without `window` where the file does not tell


class Named(NamedTuple):
    """A model in the catalog's terms."""

    name: str
    changes: dict[str, Any]  # fields of the config in which it differs from that name
    also: tuple[str, ...]  # names that fit as well, where the file does not tell its windows


class Identified(NamedTuple):
    """A file, read and recognised."""

    found: Foreign
    told: Architecture
    named: Named
    config: dict[str, Any] | None  # of the model folder it lies in
    classes: tuple[str, ...]  # their names, where what lies beside it has one for each
    image_size: tuple[int, int]  # pixels, as what lies beside it says, or else of the model's published training
    pixels: tuple[tuple[float, ...], tuple[float, ...]] | None  # mean and standard deviation, where anything tells them


def identify(tensors: Mapping[str, Tensor], path: Path, name: str = "") -> Identified:
    """Read the tensors of the file at `path`, with what lies beside it, and find out which model they are.

    name: of the catalog, for a file that fits several; default: as its config.json says, or else the nearest.
    Raises UserError for tensors of no known layout and for those of no whole model.
    """
    config = None if config_beside(path) is None else read_config(path)
    built = build_config(config["model"], config["config"]) if config else None
    found = families.read(tensors, _grid(built))
    told = architecture(found)
    swin = issubclass(told.family.backbone, Swin)
    beside = describe(path, len(told.fields["depths"]) if swin else 0)
    windows = tuple(stage_windows(built)) if built and swin else beside.windows
    fields = {field.name for field in dataclasses.fields(told.family.config)}
    told.fields.update({name: value for name, value in beside.settings.items() if name in fields})
    told.fields.update({"window": windows} if windows else {})
    told.fields.update({"pretrained_window": beside.pretrained_window} if beside.pretrained_window else {})
    classes = beside.classes if len(beside.classes) == told.num_classes else ()
    if config and classes != beside.classes:
        raise UserError(f"{path} is for {told.num_classes} classes, and config.json names {len(beside.classes)}")
    if config and not name:
        called = Named(config["model"], config["config"], ())
    else:
        called = as_named(told, name) if name else named(told)
    size = tuple(config["preprocess"].get("image_size", ())) if config else beside.image_size
    size = size or entry(called.name).image_size
    pixels = beside.pixels or getattr(told.family.files, "PIXELS", {}).get(found.layout)
    return Identified(found, told, called, config, classes, size, pixels)  # type: ignore[arg-type]


def architecture(found: Foreign) -> Architecture:
    """Read the sizes off tensors under our names. Raises UserError where tensors that tell them are missing."""
    files = families.files_of(found.tensors)
    if files is None:
        raise UserError("these tensors are of a model that the catalog does not know; load them into it in Python")
    try:
        sizes = files.sizes(found.tensors)
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise UserError(
            f"these tensors ({found.layout} layout) are no whole {files.TITLE}: {error} is missing or of another shape"
        ) from error
    fields = {**sizes.fields, **found.settings}
    fields |= {"window": found.windows} if found.windows else {}
    fields |= {"pretrained_window": found.pretrained_window} if found.pretrained_window else {}
    return Architecture(FAMILIES[sizes.family], sizes.kind, sizes.num_classes, fields)


def _grid(config: Any) -> tuple[int, ...] | None:
    """Cells of the learned position embedding that a config describes."""
    return getattr(config, "absolute_position", None) or getattr(config, "grid", None)


def named(told: Architecture) -> Named:
    """The nearest name of the catalog, with the fields to change."""
    ranked = [(_distance(told, known), i, known) for i, known in enumerate(CATALOG.values())]
    best = min(ranked, key=lambda row: row[:2])[0]
    nearest = [known for distance, _, known in ranked if distance == best]
    silent = issubclass(told.family.backbone, Swin) and "window" not in told.fields
    also = tuple(known.name for known in nearest[1:]) if silent else ()
    return Named(nearest[0].name, _changes(told, nearest[0]), also)


def as_named(told: Architecture, name: str) -> Named:
    """The same with a name that was given. Raises UserError where it is of another family or other sizes."""
    known = entry(name)
    if not _kin(told, known):
        raise UserError(f"{known.name} is a {_title(known.family)}, and the file holds a {_title(told.family)}")
    changes = _changes(told, known)
    if wrong := [f"{k} {told.fields[k]}, not {getattr(known.config, k)}" for k in STRUCTURE if k in changes]:
        raise UserError(f"the file holds no {known.name}: it has {'; '.join(wrong)}")
    return Named(known.name, changes, ())


def empty_model(name: Named, told: Architecture, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The module that the tensors of a file fill, without memory of its own (on the meta device)."""
    with torch.device("meta"):
        if told.kind == "classifier":
            return create_model(name.name, num_classes=told.num_classes, **name.changes)
        backbone: Any = entry(name.name).family.backbone(build_config(name.name, name.changes), 0.0)
        if told.kind == "simmim":
            return SimMIM(backbone)
        levels = sorted({int(key.split(".")[2]) for key in tensors if key.startswith("norms.norms.")})
        parts: dict[str, nn.Module] = {"backbone": backbone}
        return nn.ModuleDict(parts | ({"norms": LevelNorms(backbone.channels, levels)} if levels else {}))


def misfits(tensors: Mapping[str, Tensor], model: nn.Module) -> list[str]:
    """Tensors that are missing, too many, or of another shape than the model's, a few words each."""
    own = model.state_dict()
    wrong = [f"{key} is missing" for key in own if key not in tensors]
    wrong += [f"{key} belongs to no such model" for key in tensors if key not in own]
    for key in own.keys() & tensors.keys():
        if own[key].shape != tensors[key].shape:
            wrong.append(f"{key} is {tuple(tensors[key].shape)} and should be {tuple(own[key].shape)}")
    return sorted(wrong)


def _kin(told: Architecture, known: Entry) -> bool:
    """Whether the tensors may be of this name's family: those of a DeiT without distillation are a ViT's, too."""
    plain = known.family is FAMILIES["deit"] and not known.config.distilled
    return known.family is told.family or (plain and told.family is FAMILIES["vit"])


def _title(family: Family) -> str:
    return family.backbone.__name__


def _distance(told: Architecture, known: Entry) -> tuple[float, ...]:
    """How far a catalog's model is from what the tensors tell: family, then sizes, then everything else."""
    if not _kin(told, known):
        return (math.inf,)
    changes = _changes(told, known)
    return (sum(field in changes for field in STRUCTURE), "window" in changes, len(changes))


def _changes(told: Architecture, known: Entry) -> dict[str, Any]:
    changes = {field: value for field, value in told.fields.items() if value != getattr(known.config, field)}
    if "window" in changes and changes["window"] in _windows(known):
        del changes["window"]
    scales = changes.get("pretrained_window")
    if scales and scales in _windows(known) and len(set(scales)) == 1:  # trained with the windows in use, all alike
        del changes["pretrained_window"]
    return changes


def _windows(known: Entry) -> tuple:
    """The windows of a catalog's Swin, one a stage: configured, and used in its training, where maps are small."""
    if not issubclass(known.family.backbone, Swin):
        return ()
    return tuple(stage_windows(known.config)), effective_windows(known.config, known.image_size)
