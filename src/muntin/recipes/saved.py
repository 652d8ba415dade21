"""A complete recipe as JSON: what a run folder holds, and what can be run again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from muntin.errors import UserError

from .migration import migrated
from .recipe import Recipe
from .typed import typed

FORMAT = "muntin recipe/2"  # the first format had no name


def to_json(recipe: Recipe) -> str:
    """Write every value of the recipe as JSON; `from_json` reads it back to an equal Recipe."""
    return json.dumps({"format": FORMAT} | dataclasses.asdict(recipe), indent=2) + "\n"


def from_json(text: str, place: str = "recipe.json") -> Recipe:
    """The recipe written by `to_json`, in this format or the first. Fields that are left out keep their defaults.

    `place` is where the text comes from, for the messages. Raises UserError for text that is not JSON or of another
    format, for an unknown or missing field (with the nearest name) and for a value of the wrong type (with the field's
    full name).
    """
    values = values_of(text, place)
    values = migrated(values, place) if is_first(values) else {k: v for k, v in values.items() if k != "format"}
    recipe: Recipe = typed(Recipe, values, "", place)
    return recipe


def read_recipe(path: str | Path) -> Recipe:
    """The recipe of a run folder, or of a recipe.json itself."""
    return from_json(*read_text(path))


def read_text(path: str | Path) -> tuple[str, str]:
    """The text of the recipe.json of a run folder, or of such a file itself, and the path of the file."""
    path = Path(path)
    file = path / "recipe.json" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"no recipe at {file}; give a run folder with a recipe.json, or such a file")
    try:
        return file.read_text(encoding="utf-8"), str(file)
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not text in UTF-8 ({error}); give a recipe.json of a run") from None


def values_of(text: str, place: str) -> dict[str, Any]:
    """The JSON object of a recipe, as written. Raises UserError unless its format can be read."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers of 5,000 digits, and lists nested 100,000 deep
        raise UserError(f"{place} is not JSON ({error}); give a recipe.json of a run") from None
    if not isinstance(values, dict):
        raise UserError(f"{place}: the recipe is {json.dumps(values)}; it must be an object with named fields")
    if is_first(values) and isinstance(values.get("task"), dict):
        raise UserError(f'{place}: format is missing; add "format": "{FORMAT}"')
    if values.get("format", FORMAT) != FORMAT:
        raise UserError(
            f"{place} is of the format {json.dumps(values['format'])} and this muntin reads '{FORMAT}'; use the "
            "muntin that wrote it"
        )
    return values


def is_first(values: dict[str, Any]) -> bool:
    """Whether a recipe has the first format, whose files name none."""
    return "format" not in values
