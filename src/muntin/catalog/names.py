"""Names to models: plain imports, a plain dictionary. Short names are canonical; foreign ones are accepted."""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from collections.abc import Mapping
from typing import Any

from muntin.errors import UserError, unknown

from . import beit, convnext, convnext_roadmap, cvt, deit, swin, vit
from .entry import Entry, Family

FAMILIES: dict[str, Family] = {  # by the name that `convert`'s `sizes` gives them
    "swin": swin.FAMILY,
    "swin_v2": swin.FAMILY_V2,
    "vit": vit.FAMILY,
    "vit_hybrid": vit.FAMILY_HYBRID,
    "deit": deit.FAMILY,
    "deit3": deit.FAMILY_3,
    "beit": beit.FAMILY,
    "convnext": convnext.FAMILY,
    "convnext_roadmap": convnext_roadmap.FAMILY,
    "cvt": cvt.FAMILY,
}
_ROOMS = (swin, vit, deit, beit, convnext, convnext_roadmap, cvt)
CATALOG: dict[str, Entry] = {entry.name: entry for room in _ROOMS for entry in room.ENTRIES}
ALIASES: dict[str, str] = {alias: name for room in _ROOMS for alias, name in room.ALIASES.items()}

_SIZES = {"window", "patch", "absolute_position", "grid"}  # fields in which a whole number stands for a square


def list_models(pattern: str = "*") -> list[str]:
    """Canonical names that fit a shell pattern, in the order of the catalog."""
    return [name for name in CATALOG if fnmatch.fnmatch(name, pattern)]


def entry(name: str) -> Entry:
    """The entry of a canonical or foreign name. Raises UserError that names the nearest for an unknown one."""
    if not isinstance(name, str):
        raise UserError(f"a model is asked for by its name, not by {name!r}")
    plain = _plain(name)
    if found := CATALOG.get(ALIASES.get(plain, plain)):
        return found
    spelt = re.sub(r"^swin_?v?2_?", "swin_v2_", plain)
    raise unknown("model", name, CATALOG, "list: muntin models", spelt)


def build_config(name: str, overrides: Mapping[str, Any]) -> Any:
    """The config of a name with some fields replaced; a number stands for a square window, patch or grid."""
    base = entry(name).config
    fields = {f.name: getattr(base, f.name) for f in dataclasses.fields(base)}
    for key in overrides:
        if key not in fields:
            raise unknown(f"field of {entry(name).name}", key, fields)
    values = {k: as_size(v, 2) if k in _SIZES else _tuples(v) for k, v in overrides.items()}
    if isinstance(scales := values.get("pretrained_window"), tuple):
        values["pretrained_window"] = tuple(as_size(w, 2) for w in scales)
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
    plain = re.sub(r"(_(22k|in22k|22kto1k|ft|finetune|1k))+$", "", plain)
    return plain.replace("_patch4", "") if plain.startswith("swinv2_") else plain
