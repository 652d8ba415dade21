"""Reading tensors from files, never with unrestricted pickle, and never more than the file holds."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from muntin.errors import UserError
from muntin.files import check_recorded

from .archives import check_old, check_zip
from .npz import read_npz
from .pickle_stand_ins import STAND_INS
from .safetensors_header import read_header

WRAPPERS = ("model", "state_dict", "model_ema", "state_dict_ema", "module")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a .safetensors, .npz, .pth or .pt file, on the CPU, without wrappers and `module.` prefixes.

    If a config.json or manifest.json beside it records size and SHA-256, these are verified. Tensors of all but the
    oldest files are mapped, not copied: they come into memory when they are used.

    Raises UserError for a missing, damaged or foreign file, and for one that needs unpickling of objects.
    """
    if not path.is_file():
        raise UserError(f"{path} is not there; give a .safetensors or .pth file, or a folder that a run has written")
    check_recorded(path)
    return open_tensors(path)


def open_tensors(path: Path) -> dict[str, Tensor]:
    """`read_tensors` of a file by itself, whatever is recorded beside it."""
    if path.suffix == ".safetensors":
        content = _safetensors(path)
    elif path.suffix == ".npz":
        content = _npz(path)
    else:
        content = _unwrapped(_torch_file(path), path)
    return {key.removeprefix("module."): tensor for key, tensor in content.items()}


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        read_header(path)
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as safetensors ({error}); take it from its source again") from error


def _npz(path: Path) -> dict[str, Tensor]:
    try:
        return read_npz(path)
    except ValueError as error:
        raise UserError(
            f"{path} cannot be read as an .npz of arrays: {error}; "
            "take it from its source again, or save its arrays there with numpy.savez"
        ) from error


def _torch_file(path: Path) -> object:
    """What torch.save wrote, with stand-ins for its configuration objects."""
    try:
        archive = is_zipfile(path)
        check_zip(path) if archive else check_old(path)
        with torch.serialization.safe_globals(STAND_INS):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except Exception as error:  # of what torch raises on hostile files there is no list
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        reason = "torch refuses its pickle" if isinstance(error, UnpicklingError) else said
        raise UserError(
            f"{path} cannot be read as weights alone: {reason}; "
            "give a weights file, or save its tensors as .safetensors where it came from"
        ) from error


def _unwrapped(content: object, path: Path) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
            break
    if (
        not isinstance(content, dict)
        or not content
        or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())
    ):
        raise UserError(f"{path} holds no dictionary of tensors, alone or under {', '.join(WRAPPERS)}")
    return content
