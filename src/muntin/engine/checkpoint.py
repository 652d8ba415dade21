"""Training state on disk: folders that are complete or not there, and are checked before they are trusted.

    step_00000120/
        state.safetensors   every tensor: model/<name>, ema/<name>, optimizer/<parameter name>/<what>
        state.json          every number: updates done, best metric, ...
        manifest.json       size and SHA-256 of every other file
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
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from muntin.errors import UserError

TENSORS, NUMBERS, MANIFEST = "state.safetensors", "state.json", "manifest.json"

_log = logging.getLogger("muntin")


def step_folder(checkpoints: Path, update: int) -> Path:
    """Where the state after `update` updates belongs."""
    return checkpoints / f"step_{update:08d}"


def save(
    folder: Path, tensors: dict[str, Tensor], numbers: dict[str, Any], add: Callable[[Path], None] | None = None
) -> None:
    """Write a checkpoint to `folder`; `add(path)` may put more files beside it before it is sealed.

    A folder that is there already is replaced as a whole, by renaming.
    """
    with _sealed(folder) as new:
        save_file(_storable(tensors), new / TENSORS)
        (new / NUMBERS).write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
        if add is not None:
            add(new)


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (on the CPU) and numbers of a checkpoint. Raises UserError when it is damaged."""
    if fault := damage(folder):
        raise UserError(f"checkpoint {folder} is damaged: {fault}; use another one")
    try:
        return load_file(folder / TENSORS), json.loads((folder / NUMBERS).read_text(encoding="utf-8"))
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"checkpoint {folder} cannot be read: {error}; use another one") from None


def damage(folder: Path) -> str:
    """What is wrong with a checkpoint, in a few words; empty when every file is as it was written."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = {name: (entry["bytes"], entry["sha256"]) for name, entry in manifest["files"].items()}
    except FileNotFoundError:
        return f"{MANIFEST} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} cannot be read"
    for name in {TENSORS, NUMBERS} - files.keys():
        return f"{name} is not in {MANIFEST}"
    for name, (size, digest) in files.items():
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} has {file.stat().st_size} bytes, not {size}"
        if _sha256(file) != digest:
            return f"{name} has other contents than were written"
    return ""


def latest(checkpoints: Path) -> Path | None:
    """The newest undamaged step folder, or None. Each newer one that is damaged is named in a warning."""
    for folder in reversed(_steps(checkpoints)):
        fault = damage(folder)
        if not fault:
            return folder
        _log.warning("skipping checkpoint %s: %s", folder, fault)
    return None


def exist(checkpoints: Path) -> bool:
    """Whether there is any step folder, damaged or not."""
    return bool(_steps(checkpoints))


def keep_last(checkpoints: Path, count: int, saved: Path) -> None:
    """Delete all but the newest `count` step folders, and what a crash left unfinished.

    `best` stays, and so does `saved`, the folder just written: after a resume that skipped a damaged one it is not the
    one with the highest number.
    """
    old = [folder for folder in _steps(checkpoints)[:-count] if folder != saved]
    for folder in [*old, *checkpoints.glob(".*.unfinished")]:
        shutil.rmtree(folder)


def mark_best(folder: Path) -> None:
    """Make `best`, beside `folder`, the same checkpoint; by hard links, so that it costs no space while both exist."""
    with _renamed(folder.parent / "best") as new:
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
    """Give the optimizer the state that `optimizer_tensors` took, whatever its grouping was then.

    Raises UserError when the tensors belong to other parameters.
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
    return sorted(folder for folder in checkpoints.glob("step_*") if folder.is_dir())


def _storable(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, each with memory of its own, as safetensors needs (tied weights share theirs)."""
    seen: set[int] = set()
    stored = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        whole = tensor.untyped_storage()
        if whole.data_ptr() in seen or whole.nbytes() != tensor.nbytes:
            tensor = tensor.clone()
        seen.add(whole.data_ptr())
        stored[name] = tensor
    return stored


@contextmanager
def _sealed(folder: Path) -> Iterator[Path]:
    """A new folder to write to; given its manifest, flushed and renamed to `folder` at the end."""
    with _renamed(folder) as new:
        yield new
        files = sorted(file for file in new.rglob("*") if file.is_file())
        entries = {f.relative_to(new).as_posix(): {"bytes": f.stat().st_size, "sha256": _sha256(f)} for f in files}
        (new / MANIFEST).write_text(json.dumps({"files": entries}, indent=2) + "\n", encoding="utf-8")
        for path in [*files, new / MANIFEST, new]:
            _flush(path)


@contextmanager
def _renamed(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` that takes its name at the end, or is removed when something fails."""
    mark = uuid.uuid4().hex[:8]
    new, old = (folder.parent / f".{folder.name}.{mark}.{kind}.unfinished" for kind in ("new", "old"))
    new.mkdir(parents=True)
    try:
        yield new
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    _flush(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _flush(path: Path) -> None:
    """Have the system write a file or a folder's entries to the disk now."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open folders, and orders these writes itself
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
