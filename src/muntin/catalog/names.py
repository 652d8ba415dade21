"""Names to models: a plain dictionary. Short names are canonical; foreign ones are accepted."""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from torch import nn

from muntin.errors import UserError, unknown
from muntin.formats.layout import OURS_ALONE, Files
from muntin.heads import PooledReadout

from .entry import Entry, Family

# the index: a paper, which has a file of this name in every room; all else follows from it
PAPERS = ("swin", "vit", "deit", "beit", "convnext", "convnext_roadmap", "cvt")

_MODULES = [import_module(f".{paper}", __package__) for paper in PAPERS]

CATALOG: dict[str, Entry] = {entry.name: entry for module in _MODULES for entry in module.ENTRIES}
ALIASES: dict[str, str] = {alias: name for module in _MODULES for alias, name in module.ALIASES.items()}
FAMILIES: dict[str, Family] = {entry.family.name: entry.family for entry in CATALOG.values()}
FILES: tuple[Files, ...] = tuple({family.files.title: family.files for family in FAMILIES.values()}.values())
_BY_CONFIG = {family.config: family for family in FAMILIES.values()}
_OF_NO_CATALOG = Family(
    "", nn.Module, object, lambda config: PooledReadout, OURS_ALONE, {}, patch_kernel="", adopt=lambda *_: ()
)


def list_models(pattern: str = "*") -> list[str]:
    """Canonical names that fit a shell pattern, in the order of the catalog."""
    return [name for name in CATALOG if fnmatch.fnmatch(name, pattern)]


def entry(name: str) -> Entry:
    """The entry of a canonical or foreign name. Raises UserError with the nearest names for an unknown one."""
    if not isinstance(name, str):
        raise UserError(f"give the name of a model, not {name!r}")
    plain = _plain(name)
    if found := CATALOG.get(ALIASES.get(plain, plain)):
        return found
    begun = {family.name: re.match(family.beginning, plain) for family in FAMILIES.values() if family.beginning}
    spelt = next((f"{ours}_{plain[found.end() :]}" for ours, found in begun.items() if found), plain)
    raise unknown("model", name, CATALOG, "list: muntin models", spelt)


def family_of(backbone: Any) -> Family:
    """The family of a backbone: found by the class of its config, or by a class that this one descends from.

    A model that is in no catalog gets a family without facts.
    """
    return next((_BY_CONFIG[kind] for kind in type(backbone.config).__mro__ if kind in _BY_CONFIG), _OF_NO_CATALOG)


def build_config(name: str, overrides: Mapping[str, Any]) -> Any:
    """The config of a name with some fields replaced; a number stands for a square window, patch or grid."""
    base, family = entry(name).config, entry(name).family
    fields = {f.name: getattr(base, f.name) for f in dataclasses.fields(base)}
    for key in overrides:
        if key not in fields:
            raise unknown(f"field of {entry(name).name}", key, fields)
    values = {key: _tuples(value) for key, value in overrides.items()}
    for key in values.keys() & family.squares:
        values[key] = as_size(values[key], len(base.patch))
    for key in values.keys() & family.stage_squares:
        if isinstance(scales := values[key], tuple):
            values[key] = tuple(as_size(side, len(base.patch)) for side in scales)
    return dataclasses.replace(base, **values)


def as_size(value: Any, axes: int) -> Any:
    """A whole number as a square, lists as tuples; anything else is left for the model to refuse."""
    return (value,) * axes if type(value) is int else _tuples(value)


def _tuples(value: Any) -> Any:
    """Lists, as JSON has them, to tuples."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value


def _plain(name: str) -> str:
    """A foreign name without owner, weight tag and training suffixes, in our spelling."""
    plain = name.rsplit("/", 1)[-1].split(".", 1)[0].replace("-", "_").lower()
    return re.sub(r"(_(22k|in22k|22kto1k|ft|finetune|1k))+$", "", plain)
