"""What `--epochs` alone means: the schedule keeps its shape, warm-up and decays included."""

from __future__ import annotations

import dataclasses
import math
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muntin.engine import Schedule
    from muntin.recipes import Recipe


def keep_shape(recipe: Recipe, given: Mapping[str, str]) -> Recipe:
    """The recipe for the epochs that are asked for; what is counted in epochs keeps its share of them.

    Otherwise three epochs of a recipe with ten of warm-up could not be had, and of twenty, half would be warm-up. It is
    said on stderr. `given` are all flags and their values; whatever else they set is applied after this, and so wins.
    """
    epochs, schedule = given.get("schedule.epochs", ""), recipe.schedule
    if not epochs.isdecimal() or int(epochs) in (0, schedule.epochs):
        return recipe  # nothing to do, or for `override` to refuse
    shaped = stretched(schedule, int(epochs))
    changes = [
        f"{name} {getattr(schedule, name)} -> {getattr(shaped, name)}"
        for name in ("warmup_epochs", "milestones", "decay_epochs")
        if getattr(schedule, name) != getattr(shaped, name) and f"schedule.{name.replace('_', '-')}" not in given
    ]
    if changes and os.environ.get("RANK", "0") == "0":
        said = f"{epochs} epochs instead of {schedule.epochs}, in the same shape: {', '.join(changes)}"
        print(said, file=sys.stderr)
    return dataclasses.replace(recipe, schedule=shaped)


def stretched(schedule: Schedule, epochs: int) -> Schedule:
    """The same curve over another number of epochs. Milestones are whole epochs, none within the warm-up."""
    factor = epochs / schedule.epochs
    warmup = round(schedule.warmup_epochs * factor, 4)
    return dataclasses.replace(
        schedule,
        epochs=epochs,
        warmup_epochs=warmup,
        milestones=tuple(max(int(m * factor), math.ceil(warmup)) for m in schedule.milestones),
        decay_epochs=round(schedule.decay_epochs * factor, 4) if schedule.kind == "step" else schedule.decay_epochs,
    )
