"""What is needed to run it again: recipe, environment, files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from muntin.errors import UserError
from muntin.report import numbers, tables
from muntin.report.markup import Html, element
from muntin.report.page import Page

MEANING = {  # files and folders of a run folder
    "recipe.json": "every setting of the run, resolved; runs again from this file",
    "environment.json": "versions, hardware, and which operators tuned code computed",
    "metrics.jsonl": "one object a line: losses, learning rate, speed, accuracies",
    "tensorboard": "the same numbers for TensorBoard",
    "checkpoints": "training state to resume from",
    "model": "the exported weights, with configuration, preprocessing and class names",
    "summary.json": "the key numbers of this page",
}


def recipe(
    page: Page,
    recipe: Mapping[str, object],
    *,
    title: str = "Recipe",
    text: str = "Every setting of the run as it was resolved: defaults, recipe and command line together.",
) -> None:
    """Add the resolved recipe, a nested dict, as a tree to open."""
    page.section(title, text)
    page.add(tables.details(f"{_count(recipe)} settings", *_tree(recipe)))


def environment(
    page: Page,
    environment: Mapping[str, object],
    *,
    title: str = "Environment",
    text: str = "Where it ran.",
) -> None:
    """Add versions and hardware; nested names are joined by dots."""
    page.section(title, text)
    page.add(tables.pairs(_flat(environment)))


def files(
    page: Page,
    folder: str | Path,
    *,
    title: str = "Files",
    text: str = "What the run left in its folder, beside this page.",
) -> None:
    """Add the entries of the run folder, without the report, and their sizes; links work while the page stays there."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"the run folder {folder} is not there")
    page.section(title, text)
    rows = [_file_row(path) for path in sorted(folder.iterdir()) if not path.name.startswith("report.html")]
    page.add(element("div", {"class": "left"}, tables.table(["file", "size", "what it is"], rows)))


def _file_row(path: Path) -> list[object]:
    inside = [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path]
    size = numbers.file_size(sum(one.stat().st_size for one in inside))
    name = path.name + ("/" if path.is_dir() else "")
    link = element("a", {"href": "./" + quote(name)}, element("code", None, name))
    count = f" in {len(inside)} file{'s' * (len(inside) != 1)}" if path.is_dir() else ""
    return [link, size + count, MEANING.get(path.name, "")]


def _tree(values: Mapping[str, object]) -> list[Html]:
    """Leaves first, then each group as a part of its own, open."""
    leaves = {name: _write(value) for name, value in values.items() if not isinstance(value, Mapping)}
    groups = [
        tables.details(name, *_tree(value), is_open=True)
        for name, value in values.items()
        if isinstance(value, Mapping) and value
    ]
    return [tables.pairs(leaves), *groups] if leaves else groups


def _flat(values: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = _write(value)
    return flat


def _write(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_write, value)) or "–"
    return str(value) if value != "" else "–"


def _count(values: Mapping[str, object]) -> int:
    return sum(_count(value) if isinstance(value, Mapping) else 1 for value in values.values())
