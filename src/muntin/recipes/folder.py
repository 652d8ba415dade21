"""The folder that a run leaves: whether it may be used, how it begins, how a model goes into it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from torch import nn

from muntin.engine import checkpoint, environment
from muntin.errors import UserError
from muntin.saved import save_model
from muntin.tasks import Classification

from .recipe import Recipe, differences, read_recipe, to_json

MAY_CHANGE = {f"training.{name}" for name in ("workers", "threads", "save_every", "keep_last", "log_every")}


def check_folder(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise UserError unless `out` is free, or holds a run to resume or to overwrite. Changes nothing."""
    if resume:
        if not checkpoint.exist(out / "checkpoints"):
            raise UserError(f"nothing to resume: {out} holds no checkpoint; start without --resume")
    elif out.exists() and not overwrite:
        raise UserError(f"{out} exists; choose another --out, go on with --resume, or replace it with --overwrite")
    elif out.exists() and not _is_run(out):
        raise UserError(f"{out} has no recipe.json, so it is no run to overwrite; choose another --out")


def check_same(recipe: Recipe, out: Path) -> None:
    """Raise UserError where a recipe to resume differs from the one in `out` in more than `MAY_CHANGE`."""
    changed = [name for name in differences(recipe, read_recipe(out)) if name not in MAY_CHANGE]
    if changed:
        raise UserError(
            f"{out} was started with other values of {', '.join(changed)}; resume with {out / 'recipe.json'} as it is, "
            "or start a new run"
        )


def open_folder(out: Path, recipe: Recipe) -> None:
    """Make `out` anew, in the place of what was there, with recipe.json and environment.json."""
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    (out / "recipe.json").write_text(to_json(recipe), encoding="utf-8")
    write_json(out / "environment.json", environment())


def save_task(task: nn.Module, recipe: Recipe, classes: tuple[str, ...], folder: Path) -> None:
    """The model of a task for use and for fine-tuning, with class names and preprocessing."""
    model, kind = (task.model, "classifier") if isinstance(task, Classification) else (task, "simmim")
    save_model(
        folder,
        recipe.model.name,
        model,
        kind=kind,
        classes=classes,
        preprocess=recipe.preprocess.to_dict(),
    )


def write_json(file: Path, values: dict[str, Any]) -> None:
    file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _is_run(out: Path) -> bool:
    return out.is_dir() and ((out / "recipe.json").is_file() or not any(out.iterdir()))
