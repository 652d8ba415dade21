"""muntin: vision transformers and the networks close to them, in plain PyTorch.

Names are loaded when they are first used, so that importing the package costs nothing and needs torch alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from muntin.weights.adapt import adapt as adapt
    from muntin.weights.create import create_backbone as create_backbone
    from muntin.weights.create import create_model as create_model
    from muntin.weights.folder import Saved as Saved
    from muntin.weights.folder import load_model as load_model
    from muntin.weights.hub import from_pretrained as from_pretrained
    from muntin.weights.hub import push_to_hub as push_to_hub
    from muntin.weights.hub import save_pretrained as save_pretrained
    from muntin.weights.inspect import inspect as inspect

    from .catalog import list_models as list_models
    from .errors import RunError as RunError
    from .errors import UserError as UserError

_HOME = {
    "create_model": "weights.create",
    "create_backbone": "weights.create",
    "list_models": "catalog",
    "load_model": "weights.folder",
    "Saved": "weights.folder",
    "inspect": "weights.inspect",
    "adapt": "weights.adapt",
    "convert": "weights.convert",
    "from_pretrained": "weights.hub",
    "save_pretrained": "weights.hub",
    "push_to_hub": "weights.hub",
    "UserError": "errors",
    "RunError": "errors",
}
__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'muntin' has no attribute '{name}'")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
