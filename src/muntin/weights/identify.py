"""Finds out which model the tensors of a file are: the sizes that their shapes tell, and the nearest name in the
catalog.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from muntin.catalog import CATALOG, FAMILIES, Entry, Family, Fresh, build_config, entry
from muntin.errors import UserError
from muntin.files import config_beside
from muntin.formats.description import describe
from muntin.formats.layout import Foreign, Pixels
from muntin.heads import LevelNorms
from muntin.tasks.index import kept
from muntin.weights.folder import ANSWERS, read_config
from muntin.weights.read import files_of, read


class Architecture(NamedTuple):
    """What the shapes of tensors tell."""

    family: Family
    kind: str  # "classifier", "simmim" (pre-training), "backbone" (with or without norms of its levels)
    num_classes: int  # 0: no head
    fields: dict[str, Any]  # of the family's config, those that the file tells


class Named(NamedTuple):
    """A model in the catalog's terms."""

    name: str
    changes: dict[str, Any]  # fields of the config in which it differs from that name
    also: tuple[str, ...]  # names that fit as well, because the file does not tell what sets them apart
    open: tuple[str, ...]  # such fields (`Family.hidden`), where the name does not tell them either

    @property
    def of_another_size(self) -> bool:
        """Whether it is no published size."""
        return not self.changes.keys().isdisjoint(entry(self.name).family.structure)


class Identified(NamedTuple):
    """A file, read and recognised."""

    found: Foreign
    told: Architecture
    named: Named
    config: dict[str, Any] | None  # of the model folder it lies in
    classes: tuple[str, ...]  # their names, where what lies beside it has one for each
    image_size: tuple[int, int]  # pixels, as what lies beside it says, or else of the model's published training
    pixels: Pixels | None  # mean and standard deviation, where anything tells them


def identify(tensors: Mapping[str, Tensor], path: Path, name: str = "") -> Identified:
    """Read the tensors of the file at `path`, with the config.json beside it, and find out which model they are.

    name: of the catalog, for a file that fits several; default: as its config.json says, or else the nearest. Raises
    UserError for tensors of no known layout and for those of no whole model.
    """
    config = None if config_beside(path) is None else read_config(path)
    found = read(tensors, _grid(config))
    told = architecture(found)
    beside = describe(path, told.family.files, found.tensors)
    fields = {field.name for field in dataclasses.fields(told.family.config)}
    settings = dict(beside.settings)
    if config:
        settings |= entry(config["model"]).family.spelt(build_config(config["model"], config["config"]))
    told.fields.update({name: value for name, value in settings.items() if name in fields})
    classes = beside.classes if len(beside.classes) == told.num_classes else ()
    if config and classes != beside.classes:
        raise UserError(f"{path} is for {told.num_classes} classes, and config.json names {len(beside.classes)}")
    if config and not name:
        called = Named(config["model"], config["config"], (), ())
    else:
        called = as_named(told, name) if name else named(told)
    size = tuple(config["inputs"].get("image_size", ())) if config else beside.image_size
    size = size or entry(called.name).image_size
    pixels = beside.pixels or told.family.files.pixels.get(found.layout)
    return Identified(found, told, called, config, classes, size, pixels)  # type: ignore[arg-type]


def architecture(found: Foreign) -> Architecture:
    """Read the sizes from the shapes of tensors under our names. Raises UserError if tensors that tell them are
    missing.
    """
    files = files_of(found.tensors)
    if files is None:
        raise UserError("these tensors are of a model that the catalog does not know; load them into it in Python")
    try:
        sizes = files.sizes(found.tensors)
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise UserError(
            f"these tensors ({found.layout} layout) are no whole {files.title}: {error} is missing or of another shape"
        ) from error
    return Architecture(FAMILIES[sizes.family], sizes.kind, sizes.num_classes, {**sizes.fields, **found.settings})


def _grid(config: Mapping[str, Any] | None) -> tuple[int, ...] | None:
    """Cells of the learned positions that a config.json describes."""
    family = entry(config["model"]).family if config else None
    if not config or not family or not family.grid:
        return None
    return getattr(build_config(config["model"], config["config"]), family.grid)  # type: ignore[no-any-return]


def named(told: Architecture) -> Named:
    """The nearest name of the catalog, with the fields to change."""
    ranked = [(_distance(told, known), i, known) for i, known in enumerate(CATALOG.values())]
    best = min(ranked, key=lambda row: row[:2])[0]
    nearest, *others = [known for distance, _, known in ranked if distance == best]
    found = Named(nearest.name, _changes(told, nearest), (), ())
    family = told.family
    hidden = tuple(field for field in family.hidden if field not in told.fields)
    apart = [f for f in hidden if f not in family.structure and any(_value(k, f) != _value(nearest, f) for k in others)]
    also = tuple(known.name for known in others) if apart else ()
    return found._replace(also=also, open=hidden if found.of_another_size else tuple(apart))


def as_named(told: Architecture, name: str) -> Named:
    """The model with a given name. Raises UserError if it is of another family or has other sizes."""
    known = entry(name)
    if not _kin(told, known):
        raise UserError(f"{known.name} is a {known.family.title}, and the file holds a {told.family.title}")
    changes = _changes(told, known)
    if wrong := [f"{k} {told.fields[k]}, not {_value(known, k)}" for k in known.family.structure if k in changes]:
        raise UserError(f"the file holds no {known.name}: it has {'; '.join(wrong)}")
    return Named(known.name, changes, (), ())


def empty_model(name: Named, told: Architecture, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The module that the tensors of a file fill, without memory of its own (on the meta device)."""
    with torch.device("meta"):
        models = Fresh(name.name, name.changes)
        if ANSWERS[told.kind]:
            return kept(ANSWERS[told.kind], models, told.num_classes)
        backbone: Any = models.classifier(0).backbone
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
    """Whether the tensors may be of this name's family, or of one that looks the same."""
    return told.family.name in (known.family.name, known.family.resembles(known.config))


def _distance(told: Architecture, known: Entry) -> tuple[float, ...]:
    """How much a model of the catalog differs from what the tensors tell: family, then sizes, then everything else."""
    if not _kin(told, known):
        return (math.inf,)
    changes = _changes(told, known)
    first = [sum(field in changes for field in fields) for fields in (known.family.structure, known.family.in_use)]
    return (*first, len(changes))


def _changes(told: Architecture, known: Entry) -> dict[str, Any]:
    return {
        field: value
        for field, value in told.fields.items()
        if value != _value(known, field) and not known.family.same(known, field, value)
    }


def _value(known: Entry, field: str) -> Any:
    return getattr(known.config, field)
