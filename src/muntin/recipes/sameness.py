"""Whether two recipes are the same in all that decides a run's numbers."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .migration import first_hash
from .recipe import About, Recipe
from .saved import from_json, is_first, read_text, to_json, values_of

MAY_CHANGE = {  # by --resume too: they change no number (threads: but for rounding)
    *(f"training.{name}" for name in ("workers", "threads", "save_every", "save_steps", "keep_last", "log_every")),
    *(f"training.{name}" for name in ("skip_nonfinite", "checkpointing")),
    "data.bad_share",
    "data.val_batch_size",
    *(f"about.{f.name}" for f in dataclasses.fields(About)),
}


def differences(first: Recipe, second: Recipe) -> list[str]:
    """Full names of the fields in which two recipes differ, such as 'optim.lr' and 'model.config.window'."""
    one, other = _leaves(first), _leaves(second)
    return [name for name in one | other if one.get(name) != other.get(name)]


def recipe_hash(recipe: Recipe) -> str:
    """SHA-256, in hex, of every value except those of `MAY_CHANGE`: equal if one run may continue as the other.

    Defaults do not count: a version of muntin with one field more continues runs of a version without it.
    """
    leaves = _leaves(from_json(to_json(recipe)), defaults=False)  # 5 where a float is meant becomes 5.0
    decisive = {name: value for name, value in leaves.items() if name not in MAY_CHANGE}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def hash_of_run(folder: str | Path) -> str:
    """The hash that the checkpoints of a run folder hold, from its recipe.json of either format."""
    text, place = read_text(folder)
    values = values_of(text, place)
    return first_hash(values) if is_first(values) else recipe_hash(from_json(text, place))


def _leaves(group: Any, prefix: str = "", *, defaults: bool = True) -> dict[str, Any]:
    """The values of a tree by their full names; without those that are their field's default, if `defaults` is off.

    What a group is, its `kind`, always counts.
    """
    found: dict[str, Any] = {}
    for f in dataclasses.fields(group):
        name, value = prefix + f.name, getattr(group, f.name)
        if dataclasses.is_dataclass(value):
            found |= _leaves(value, f"{name}.", defaults=defaults)
        elif isinstance(value, Mapping):
            found |= {f"{name}.{key}": each for key, each in value.items()}
        elif defaults or not f.init or value != f.default:
            found[name] = value
    return found
