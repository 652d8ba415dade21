"""The folder that a run leaves: whether it may be used, how it begins, how a model goes into it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import nn

from muntin.engine import checkpoint, environment
from muntin.errors import RunError, UserError
from muntin.saved import save_model
from muntin.tasks import Classification

from .recipe import Recipe, differences, read_recipe, to_json

MAY_CHANGE = {f"training.{name}" for name in ("workers", "threads", "save_every", "keep_last", "log_every")}


def check_folder(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise UserError unless `out` is free, or holds a run to resume or to overwrite. Changes nothing."""
    if not out.name or out.name == "..":
        raise UserError(f"'{out}' is no folder of its own; choose another --out, such as runs/first")
    blocked = next((place for place in out.parents if place.exists()), None)
    if blocked and not blocked.is_dir():
        raise UserError(f"{out} cannot be made: {blocked} is a file; choose another --out")
    has_checkpoint = checkpoint.exist(out / "checkpoints")
    if resume:
        if not has_checkpoint:
            instead = "start anew with --overwrite" if out.exists() else "start without --resume"
            raise UserError(f"nothing to resume: {out} holds no checkpoint; {instead}")
    elif out.exists() and not _is_run(out):
        so = "so it is no run to overwrite; " if overwrite else ""
        raise UserError(f"{out} exists and has no recipe.json, {so}choose another --out")
    elif out.exists() and not overwrite:
        go_on = "go on with --resume, " if has_checkpoint else ""
        raise UserError(f"{out} exists; choose another --out, {go_on}or replace it with --overwrite")


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
    try:
        out.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{out} cannot be made: {error.strerror}; choose another --out") from None
    (out / "recipe.json").write_text(to_json(recipe), encoding="utf-8")
    write_json(out / "environment.json", environment())


@contextlib.contextmanager
def new_run(out: Path, recipe: Recipe) -> Iterator[Callable[[], None]]:
    """`out` made anew for the run inside. If that fails before its first checkpoint, `out` is as it was before.

    An older run waits beside it under a hidden name. It goes when the run inside is over, or when what is yielded is
    called while there is a checkpoint. Where `out` was free, RunError and Ctrl-C leave the folder, to be looked at.
    """
    checkpoints, old = out / "checkpoints", out.parent / f".{out.name}.old-{os.getpid()}"

    def forget_old() -> None:
        if checkpoint.exist(checkpoints):
            shutil.rmtree(old, ignore_errors=True)

    if out.exists():
        try:
            out.rename(old)
        except OSError as error:  # a mount, say
            raise UserError(f"{out} cannot be replaced: {error.strerror}; choose another --out") from None
    try:
        open_folder(out, recipe)
        yield forget_old
    except BaseException as error:
        if not checkpoint.exist(checkpoints) and (old.exists() or not isinstance(error, (RunError, KeyboardInterrupt))):
            shutil.rmtree(out, ignore_errors=True)
            if old.exists():
                old.rename(out)
        raise
    finally:
        forget_old()


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
