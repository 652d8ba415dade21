"""muntin: the Swin lineage and the models told with it, in plain PyTorch.

Names are loaded when they are first used, so that importing the package costs nothing and needs torch alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .catalog import create_backbone as create_backbone
    from .catalog import create_model as create_model
    from .catalog import list_models as list_models
    from .conversion import adapt as adapt
    from .errors import RunError as RunError
    from .errors import UserError as UserError
    from .hub import from_pretrained as from_pretrained
    from .hub import push_to_hub as push_to_hub
    from .hub import save_pretrained as save_pretrained
    from .inspection import inspect as inspect
    from .saved import Saved as Saved
    from .saved import load_model as load_model

_HOME = {
    "create_model": "catalog",
    "create_backbone": "catalog",
    "list_models": "catalog",
    "load_model": "saved",
    "Saved": "saved",
    "inspect": "inspection",
    "adapt": "conversion",  # its twin is conversion.convert: the room of foreign files has the shorter name
    "from_pretrained": "hub",
    "save_pretrained": "hub",
    "push_to_hub": "hub",
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
