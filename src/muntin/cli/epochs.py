"""What `--epochs` or `--updates` alone means: the schedule keeps its shape, warm-up and decays included."""

from __future__ import annotations

import dataclasses
import math
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from muntin.errors import UserError

if TYPE_CHECKING:
    from muntin.engine import Schedule
    from muntin.recipes import Recipe

TWINS = (("epochs", "updates"), ("warmup_epochs", "warmup_updates"))  # one length in two units


def keep_shape(recipe: Recipe, flags: Mapping[str, str]) -> Recipe:
    """The recipe for the length that the flags ask for; warm-up, milestones and decays keep their share of the length.

    Without this, three epochs of a recipe with ten of warm-up would be refused, and half of twenty epochs would be
    warm-up. A line on stderr says what changed.

    flags: all flags and their values. Whatever else they set is applied after this, and so wins; a length in one unit
    replaces the recipe's length in the other. Raises UserError where one length is given in both units.
    """
    group = "schedule."
    given = {
        name.removeprefix(group).replace("-", "_"): value for name, value in flags.items() if name.startswith(group)
    }
    schedule = recipe.schedule
    for twins in TWINS:
        if given.keys() >= set(twins):
            raise UserError(f"--{' and --'.join(twins).replace('_', '-')} say the same in two units; give one of them")
    for unit in ("epochs", "updates"):
        length = given.get(unit, "")
        if length.isdecimal() and int(length) not in (0, getattr(schedule, unit)):  # the form refuses what is no number
            curve = {name: given[name] for name in ("kind", "clock") if name in given and unit == "updates"}
            schedule = stretched(schedule, **{unit: int(length)}, **curve)  # type: ignore[arg-type]
            _say(recipe.schedule, schedule, unit, given)
    replaced: dict[str, Any] = {one: 0 for twins in TWINS[1:] for one, other in (twins, twins[::-1]) if other in given}
    schedule = dataclasses.replace(schedule, **replaced)
    return dataclasses.replace(recipe, schedule=schedule)


def stretched(schedule: Schedule, *, epochs: int = 0, updates: int = 0, **curve: Any) -> Schedule:
    """The same curve over another number of epochs, or of updates.

    A warm-up in the unit of the old length keeps its share, in the new unit; a warm-up in the other unit does not
    change. Milestones are whole epochs, none within the warm-up. curve: another kind or clock, for a length in updates
    that those of the schedule do not know.
    """
    factor = (epochs or updates) / (schedule.epochs or schedule.updates)
    warmup = (schedule.warmup_epochs if schedule.epochs else schedule.warmup_updates) * factor
    changes: dict[str, Any] = {"epochs": epochs, "updates": updates}
    if warmup and epochs:
        changes |= {"warmup_epochs": round(warmup, 4), "warmup_updates": 0}
    elif warmup:
        changes |= {"warmup_epochs": 0, "warmup_updates": round(warmup)}
    if epochs and schedule.epochs:
        first = math.ceil(changes.get("warmup_epochs", 0))
        changes["milestones"] = tuple(max(int(m * factor), first) for m in schedule.milestones)
    if epochs and schedule.epochs and schedule.kind == "step":
        changes["decay_epochs"] = round(schedule.decay_epochs * factor, 4)
    return dataclasses.replace(schedule, **changes, **curve)


def _say(before: Schedule, after: Schedule, unit: str, given: dict[str, str]) -> None:
    """Print what follows from the new length, except what is given itself."""
    changes = [
        f"{name} {getattr(before, name)} -> {getattr(after, name)}"
        for name in ("warmup_epochs", "warmup_updates", "milestones", "decay_epochs")
        if getattr(before, name) != getattr(after, name) and name not in given
    ]
    if changes and os.environ.get("RANK", "0") == "0":
        old = getattr(before, unit) or (f"{before.epochs} epochs" if before.epochs else f"{before.updates} updates")
        said = f"{given[unit]} {unit} instead of {old}, in the same shape: {', '.join(changes)}"
        print(said, file=sys.stderr)
