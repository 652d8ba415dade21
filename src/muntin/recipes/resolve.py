"""Whether a recipe says enough to start, and the model of its weights where it names none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from muntin.errors import UserError
from muntin.saved import read_config

from .recipe import OVERRIDES, Recipe


def resolve(recipe: Recipe) -> Recipe:
    """The recipe with a model, its weights' own where it names none.

    Raises UserError where data, weights or model are missing, and where the weights' channels are not the pictures'.
    """
    model = recipe.model
    if not recipe.data.path:
        raise UserError(f"the recipe '{recipe.name}' needs pictures: --data FOLDER (or FILE.csv, or digits)")
    if not model.weights and not model.from_scratch:
        raise UserError(
            f"the recipe '{recipe.name}' starts from trained weights: give --weights RUN_OR_FILE, "
            "or say --from-scratch to do without"
        )
    if model.name:
        return recipe
    if not model.weights:
        raise UserError("no model: give --model NAME (`muntin models` lists them) or --weights RUN")
    saved = read_config(model.weights)
    overrides = {key: _tuples(value) for key, value in saved["config"].items()}
    channels, pictures = overrides.pop("in_chans", 3), len(recipe.preprocess.mean)
    if channels != pictures:
        raise UserError(
            f"the model of {model.weights} takes {channels} channel(s), the pictures of recipe '{recipe.name}' have "
            f"{pictures}: --mean and --std need one value a channel"
        )
    if len(set(overrides.get("window", ()))) == 1 and isinstance(overrides["window"][0], tuple):
        overrides["window"] = overrides["window"][0]  # saved stage by stage, and the same for all
    if strange := sorted(overrides.keys() - set(OVERRIDES)):
        raise UserError(f"{model.weights} has its own {strange[0]}, which no recipe can say; use Python instead")
    return replace(recipe, model=replace(model, name=saved["model"], **overrides))


def _tuples(value: Any) -> Any:
    """Lists, as JSON has them, to tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
