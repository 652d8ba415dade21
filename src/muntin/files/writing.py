"""Writes weights so that a crash or a full disk leaves either the old files or the new ones, complete."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from .sums import CONFIG, NEXT_CONFIG, WEIGHTS, config_beside, describe, sealed


def write_model_folder(folder: Path, tensors: Mapping[str, Tensor], config: dict[str, Any]) -> None:
    """Write model.safetensors and the config.json that describes it, with sizes and checksums, replacing older ones.

    Two files cannot be renamed at once. So the new description is there, under its first name, before the new weights.
    As soon as these have their name, `config_beside` uses it instead of the old one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights, following = folder / WEIGHTS, folder / NEXT_CONFIG
    if weights.is_file() and following.is_file():
        _finish(weights)
    new = folder / f".{WEIGHTS}.next"
    try:
        write_tensors(new, tensors)
        text = json.dumps(sealed(config | {"files": {WEIGHTS: describe(new)}}), indent=2) + "\n"
        following.write_text(text, encoding="utf-8")
        for path in (new, following, folder):
            flush(path)
        new.replace(weights)
    except BaseException:
        for path in (new, following):
            path.unlink(missing_ok=True)
        raise
    flush(folder)
    following.replace(folder / CONFIG)
    flush(folder)


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a new file beside `path`, which then replaces it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.next")
    try:
        write(new)
        flush(new)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    flush(path.parent)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file; tensors that share memory, or are a part of a larger one, are copied first."""
    seen: set[int] = set()
    stored = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        memory = tensor.untyped_storage()
        stored[name] = tensor if memory.nbytes() == tensor.nbytes and memory.data_ptr() not in seen else tensor.clone()
        seen.add(memory.data_ptr())
    path.touch()
    mode = path.stat().st_mode  # safetensors hides its files from everybody else, whatever the system's custom is
    try:
        save_file(stored, path, metadata={"format": "pt"})
    except SafetensorError as error:  # a full disk, say
        raise OSError(f"{path} cannot be written: {error}") from error
    path.chmod(mode)


def write_pickle(path: Path, value: object) -> None:
    """A file as `torch.save` writes it. Raises OSError where it cannot be written, which torch calls a RuntimeError."""
    path.touch()
    try:
        torch.save(value, path)
    except RuntimeError as error:
        raise OSError(f"{path} cannot be written ({str(error).splitlines()[0]}); is the disk full?") from error


def flush(path: Path) -> None:
    """Make the system write a file or a folder's entries to the disk now."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open folders, and orders these writes itself
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _finish(weights: Path) -> None:
    """Finish an older save that was interrupted between its renames: its description belongs to the weights that are
    there.
    """
    following = weights.with_name(NEXT_CONFIG)
    if config_beside(weights) == _parsed(following):
        following.replace(weights.with_name(CONFIG))


def _parsed(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
