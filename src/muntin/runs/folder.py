"""The folder of a run: whether it may be used, how it begins, how a model goes into it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from muntin.data import Source
from muntin.engine import checkpoint, environment
from muntin.errors import RunError, UserError
from muntin.ops.fast.choice import BEFORE_THE_TABLE, Choice, in_use
from muntin.recipes import MAY_CHANGE, Recipe, differences, read_recipe, to_json
from muntin.weights.folder import save_model

from .build import Parts

LOOKED_AT = 100_000  # pictures whose names tell whether the data is the same; of more, every so many


def check_place(out: Path) -> None:
    """Raise UserError if no folder `out` can be there."""
    if not out.name or out.name == "..":
        raise UserError(f"'{out}' is no folder of its own; choose another --out, such as runs/first")
    blocked = next((place for place in out.parents if place.exists()), None)
    if blocked and not blocked.is_dir():
        raise UserError(f"{out} cannot be made: {blocked} is a file; choose another --out")


def check_folder(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise UserError unless `out` is free, or holds a run to resume or to overwrite. Changes nothing."""
    check_place(out)
    checkpoints = out / "checkpoints"
    has_checkpoint = checkpoint.exist(checkpoints)
    if closed := next(
        (place for place in (out, checkpoints) if place.exists() and not os.access(place, os.W_OK)), None
    ):
        raise UserError(f"{closed} cannot be written to; choose another --out, or allow it")
    if resume:
        if not has_checkpoint:
            instead = "start anew with --overwrite" if out.exists() else "start without --resume"
            raise UserError(f"nothing to resume: {out} holds no checkpoint; {instead}")
    elif out.exists() and not _is_run(out):
        so = "so it is no run to overwrite; " if overwrite else ""
        raise UserError(f"{out} exists and has no recipe.json, {so}choose another --out")
    elif out.exists() and not overwrite:
        go_on = "continue with --resume, " if has_checkpoint else ""
        raise UserError(f"{out} exists; choose another --out, {go_on}or replace it with --overwrite")


def check_same(recipe: Recipe, out: Path) -> None:
    """Raise UserError if a recipe to resume differs from the one in `out` in more than `MAY_CHANGE`."""
    changed = [name for name in differences(recipe, read_recipe(out)) if name not in MAY_CHANGE]
    if changed:
        raise UserError(
            f"{out} was started with other values of {', '.join(changed)}; resume with {out / 'recipe.json'} as it is, "
            "or start a new run"
        )


def write_data(parts: Parts, out: Path) -> None:
    """Write to data.json which pictures and classes a run will be trained and measured on."""
    write_json(out / "data.json", _data(parts))


def check_same_data(parts: Parts, out: Path) -> None:
    """Raise UserError if pictures, labels or classes differ from those that `out` was started with.

    It does not notice the same files with other contents.
    """
    try:
        before = json.loads((out / "data.json").read_text(encoding="utf-8"))
        changed = [
            f"{part} had {before[part][what]} {what} and has {now[what]}"
            if what != "names and labels"
            else f"{part} has other names or labels"
            for part, now in _data(parts).items()
            for what in now
            if before[part][what] != now[what]
        ]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{out / 'data.json'} is missing or damaged; start a new run") from None
    if changed:
        raise UserError(f"the data of {out} has changed: {changed[0]}; resume with the same data, or start a new run")


def settle(out: Path) -> None:
    """Clean up after a run that was killed while it replaced another one, as `new_run` would have done."""
    old = _waiting(out)
    if not (old / "recipe.json").is_file():  # nothing of ours waits there
        return
    if checkpoint.exist(out / "checkpoints"):
        shutil.rmtree(old)
    else:
        shutil.rmtree(out, ignore_errors=True)
        old.rename(out)


def open_folder(out: Path, recipe: Recipe) -> None:
    """Create `out`, replacing what was there, with recipe.json and environment.json."""
    if out.exists():
        shutil.rmtree(out)
    try:
        out.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{out} cannot be made: {error.strerror}; choose another --out") from None
    _write(out / "recipe.json", to_json(recipe))
    write_json(out / "environment.json", environment() | {"tuned_code": in_use().to_dict()})


def read_choice(out: Path) -> Choice:
    """Where the run in `out` uses tuned code. A resumed run does the same, also on another processor or with another
    table.

    Raises UserError if environment.json is damaged.
    """
    try:
        values = json.loads((out / "environment.json").read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise TypeError
        return Choice.from_dict(values["tuned_code"]) if "tuned_code" in values else BEFORE_THE_TABLE
    except FileNotFoundError:  # no run, which others will say, or one that lost what nobody needed before the table
        return BEFORE_THE_TABLE
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{out / 'environment.json'} is damaged; start a new run") from None


@contextlib.contextmanager
def new_run(out: Path, recipe: Recipe) -> Iterator[Callable[[], None]]:
    """Make `out` anew for the run inside. If that run fails before its first checkpoint, `out` is as it was before.

    An older run waits beside it under a hidden name. It is deleted when the run inside is over, or when the yielded
    function is called while there is a checkpoint. If `out` was free, RunError and Ctrl-C leave the folder for
    inspection.
    """
    checkpoints, old = out / "checkpoints", _waiting(out)

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


def save_task(task: Any, recipe: Recipe, folder: Path) -> None:
    """Save the model of a task for use and for fine-tuning, with class names and inputs."""
    model = task.keeps()
    save_model(
        folder,
        recipe.model.name,
        model,
        kind=model.kind,
        classes=task.classes,
        inputs=recipe.inputs.to_dict(),
        task=task.answering(),
    )


def write_json(file: Path, values: dict[str, Any]) -> None:
    _write(file, json.dumps(values, indent=2) + "\n")


def _write(file: Path, text: str) -> None:
    """Write to the disk now: a checkpoint that survives a power cut is useless without the recipe."""
    try:
        with file.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        error.filename = str(file)  # which the system does not say of a full disk
        raise


def _waiting(out: Path) -> Path:
    """Where an older run waits until the one that replaces it has a checkpoint."""
    return out.parent / f".{out.name}.old"


def _data(parts: Parts) -> dict[str, dict[str, Any]]:
    sources = {"train": parts.train.source, "val": parts.val.source if parts.val else None}
    return {part: _contents(source) if source is not None else {} for part, source in sources.items()}


def _contents(source: Source) -> dict[str, Any]:
    """Counts, and a hash of all classes and of the names and labels of at most `LOOKED_AT` pictures, evenly spread."""
    digest, count = hashlib.sha256(), len(source)
    looked_at = range(0, count, -(-count // LOOKED_AT))
    for line in (source.classes, *((source.name(i), source.label(i)) for i in looked_at)):
        digest.update(json.dumps(line).encode())
    return {"pictures": count, "classes": len(source.classes), "names and labels": digest.hexdigest()}


def _is_run(out: Path) -> bool:
    return out.is_dir() and ((out / "recipe.json").is_file() or not any(out.iterdir()))
