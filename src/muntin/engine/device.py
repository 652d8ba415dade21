"""Moving a batch to a device, whatever it holds."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def to_device(value: Any, device: torch.device) -> Any:
    """Returns `value` with every tensor in it on `device`.

    Looks into dictionaries, lists and tuples (named ones keep their type) at any depth; everything else stays as it is.
    The copies do not wait for each other (`non_blocking`).
    """
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {name: to_device(part, device) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        parts = [to_device(part, device) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value
