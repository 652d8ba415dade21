"""Reading tensors from files, never with unrestricted pickle."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from muntin.errors import UserError

_WRAPPERS = ("model", "state_dict", "model_ema")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a .safetensors, .pth or .pt file, on the CPU, without a wrapper and without `module.` prefixes.

    Raises UserError for a missing, damaged or foreign file, and for one that needs unpickling of objects.
    """
    if not path.is_file():
        raise UserError(f"{path} is not there; give a .safetensors or .pth file, or a folder that a run has written")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} cannot be read as safetensors ({error}); it may be cut off or renamed") from error
    try:
        # only the zip format can be mapped; old files and no files at all are read, or refused, as they are
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except (UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} cannot be read as weights alone ({reason}); save its tensors as .safetensors first"
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
            break
    if (
        not isinstance(content, dict)
        or not content
        or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())
    ):
        raise UserError(f"{path} holds no dictionary of tensors, alone or under {', '.join(_WRAPPERS)}")
    return {key.removeprefix("module."): tensor for key, tensor in content.items()}
