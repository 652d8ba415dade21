"""Training state on disk: folders that are complete or not there, and are checked before they are trusted.

    step_00000120/
        state.safetensors   every tensor: model/<name>, ema/<name>, optimizer/<parameter name>/<what>
        state.json          format, and every number: updates done, best metric, ...
        manifest.json       format, step, hash of the recipe, size and SHA-256 of every other file, SHA-256 of itself
        ...                 whatever the caller adds

A folder is written under a temporary name, flushed to the disk and renamed; none is ever changed afterwards. Nothing is
pickled, so reading a checkpoint runs no foreign code.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from muntin.engine.disk_errors import writing
from muntin.errors import UserError
from muntin.files import flush, write_tensors

TENSORS, NUMBERS, MANIFEST, BEST = "state.safetensors", "state.json", "manifest.json", "best"
FORMAT = "muntin-checkpoint/1"
MANIFEST_LIMIT = 1 << 20  # bytes; more is no manifest of ours, and is not read

_log = logging.getLogger("muntin")


def step_folder(checkpoints: Path, update: int) -> Path:
    """Where the state after `update` updates belongs."""
    return checkpoints / f"step_{update:08d}"


def save(
    folder: Path,
    tensors: dict[str, Tensor],
    numbers: dict[str, Any],
    *,
    step: int,
    recipe: str = "",
    add: Callable[[Path], None] | None = None,
) -> None:
    """Write a checkpoint to `folder`; `add(path)` may put more files beside it before it is sealed.

    step: updates done; recipe: a hash of what is run. Both go into the manifest.
    A folder that is there already is replaced as a whole, by renaming. Raises RunError when it cannot be written:
    every older checkpoint is then as it was.
    """
    size = sum(tensor.nbytes for tensor in tensors.values())
    with writing(f"the checkpoint of step {step}", folder.parent, needs=size), _renamed(folder) as new:
        write_tensors(new / TENSORS, tensors)
        (new / NUMBERS).write_text(json.dumps({"format": FORMAT} | numbers, indent=2) + "\n", encoding="utf-8")
        if add is not None:
            add(new)
        _seal(new, step, recipe)


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (on the CPU) and numbers of a checkpoint. Raises UserError when it is damaged."""
    if fault := damage(folder):
        raise UserError(f"checkpoint {folder} is damaged: {fault}; use another one")
    try:
        tensors, numbers = load_file(folder / TENSORS), json.loads((folder / NUMBERS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        raise UserError(f"checkpoint {folder} cannot be read: {error}; use another one") from None
    numbers.pop("format", None)  # older ones leave it to the manifest
    return tensors, numbers


def damage(folder: Path) -> str:
    """What is wrong with a checkpoint, in a few words; empty if every file is, bit for bit, as it was written."""
    try:
        manifest = read_manifest(folder)
    except UserError as error:
        return str(error)
    for name in {TENSORS, NUMBERS} - manifest["files"].keys():
        return f"{name} is not in {MANIFEST}"
    for name, entry in manifest["files"].items():
        file = folder / name
        try:
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != entry["bytes"]:
                return f"{name} has {file.stat().st_size} bytes, not {entry['bytes']}"
            if _sha256(file) != entry["sha256"]:
                return f"{name} has other contents than were written"
        except OSError as error:  # a disk that fails
            return f"{name} cannot be read: {error.strerror or error}"
    return ""


def read_manifest(folder: Path) -> dict[str, Any]:
    """{"format", "step", "recipe", "files": {name: {"bytes", "sha256"}}} of a checkpoint.

    Raises UserError, in a few words, if the manifest is not as it was written.
    """
    try:
        with (folder / MANIFEST).open("rb") as file:
            text = file.read(MANIFEST_LIMIT)
        manifest = json.loads(text)
        form, names = manifest["format"], [PurePosixPath(name) for name in manifest["files"]]
        as_written = _manifest_text({key: value for key, value in manifest.items() if key != "sha256"}) == text
    except FileNotFoundError:
        raise UserError(f"{MANIFEST} is missing") from None
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise UserError(f"{MANIFEST} cannot be read") from None
    if not as_written:
        raise UserError(f"{MANIFEST} has other contents than were written")
    if form != FORMAT:
        raise UserError(f"{MANIFEST} has format {form}, and this version of muntin reads {FORMAT}")
    for name in names:
        if name.is_absolute() or ".." in name.parts:
            raise UserError(f"{MANIFEST} names a file outside of the checkpoint, {name}")
    return manifest


def latest(checkpoints: Path) -> Path | None:
    """The newest undamaged step folder, else an undamaged `best`, else None.

    A warning names each damaged folder that would have come first.
    """
    for folder in reversed(_all(checkpoints)):
        fault = damage(folder)
        if not fault:
            return folder
        _log.warning("skipping checkpoint %s: %s", folder, fault)
    return None


def exist(checkpoints: Path) -> bool:
    """Whether there is any checkpoint, damaged or not, or one that `recover` brings back."""
    return bool(_all(checkpoints)) or any(_replaced(checkpoints))


def recover(checkpoints: Path) -> None:
    """Clean up after a crash: bring back a folder that was being replaced, remove what is unfinished."""
    for old in _replaced(checkpoints):
        name = old.name[1:].split(".", 1)[0]
        if not (checkpoints / name).exists():
            old.rename(checkpoints / name)
    _remove_unfinished(checkpoints)


def keep_last(checkpoints: Path, count: int, saved: Path) -> None:
    """Delete all but the newest `count` step folders, and what a crash left unfinished.

    `best` stays, and so does `saved`, the folder just written: after a resume that skipped a damaged one it is not the
    one with the highest number.
    """
    for folder in _steps(checkpoints)[:-count]:
        if folder != saved:
            shutil.rmtree(folder, ignore_errors=True)  # what resists is tried again after the next save
    _remove_unfinished(checkpoints)


def mark_best(folder: Path) -> None:
    """Make `best`, beside `folder`, the same checkpoint; by hard links, so that it costs no space while both exist."""
    with writing("the best checkpoint", folder.parent), _renamed(folder.parent / BEST) as new:
        shutil.copytree(folder, new, copy_function=_link, dirs_exist_ok=True)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as {"<parameter name>/<what>": tensor}; its groups carry `names`."""
    return {
        f"{name}/{what}": tensor
        for group in optimizer.param_groups
        for name, parameter in zip(group["names"], group["params"])
        for what, tensor in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give the optimizer the state that `optimizer_tensors` returned, whatever its grouping was then.

    Raises UserError if the tensors belong to other parameters.
    """
    states: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, _, what = key.rpartition("/")
        states.setdefault(name, {})[what] = tensor
    names = [name for group in optimizer.param_groups for name in group["names"]]
    if strange := sorted(states.keys() - set(names)):
        raise UserError(f"the checkpoint's optimizer has a state for '{strange[0]}', which is not trained here")
    whole = optimizer.state_dict()
    whole["state"] = {number: states[name] for number, name in enumerate(names) if name in states}
    optimizer.load_state_dict(whole)


def _steps(checkpoints: Path) -> list[Path]:
    ours = checkpoints.glob(f"step_{'[0-9]' * 8}")  # not step_00001000_copy, which its user keeps
    return sorted(folder for folder in ours if folder.is_dir())


def _all(checkpoints: Path) -> list[Path]:
    """`best`, where it is, and the step folders, the newest last."""
    return [folder for folder in (checkpoints / BEST, *_steps(checkpoints)) if folder.is_dir()]


def _replaced(checkpoints: Path) -> list[Path]:
    """Folders that were being replaced when a crash came between the two renames."""
    return sorted(checkpoints.glob(".*.old.unfinished"))


def _remove_unfinished(checkpoints: Path) -> None:
    for folder in checkpoints.glob(".*.unfinished"):
        shutil.rmtree(folder, ignore_errors=True)


def _seal(new: Path, step: int, recipe: str) -> None:
    """Write the manifest of a folder."""
    files = sorted(file for file in new.rglob("*") if file.is_file())
    entries = {f.relative_to(new).as_posix(): {"bytes": f.stat().st_size, "sha256": _sha256(f)} for f in files}
    (new / MANIFEST).write_bytes(_manifest_text({"format": FORMAT, "step": step, "recipe": recipe, "files": entries}))


def _manifest_text(manifest: dict[str, Any]) -> bytes:
    """The text of a manifest, with its own SHA-256. There is one way to write it, so any other byte in the file is
    damage.
    """
    digest = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()
    return (json.dumps(manifest | {"sha256": digest}, indent=2) + "\n").encode()


@contextmanager
def _renamed(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder`. At the end it is flushed and takes that name; if something fails it is removed."""
    mark = uuid.uuid4().hex[:8]
    new, old = (folder.parent / f".{folder.name}.{mark}.{kind}.unfinished" for kind in ("new", "old"))
    try:
        new.mkdir(parents=True)
        yield new
        for path in [*new.rglob("*"), new]:
            flush(path)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(new, ignore_errors=True)
        raise
    for place in (folder.parent, folder.parent.parent):  # which may have got its entry by this
        flush(place)
    shutil.rmtree(old, ignore_errors=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
