"""The one place that imports torchvision."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import torch

from muntin.errors import UserError

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_libraries: list[torch.library.Library] = []  # a definition lives as long as its Library object


@cache
def functional() -> ModuleType:
    """`torchvision.transforms.v2.functional`. Raises `UserError` naming the extra when torchvision is not installed."""
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise UserError('training transforms need torchvision: pip install "muntin[train]"')
    _define_missing_operators(Path(spec.origin).parent)
    from torchvision.transforms.v2 import functional

    return functional


def _define_missing_operators(folder: Path) -> None:
    """Declare the operators that torchvision describes at import, if its compiled file cannot be loaded.

    The wheel's `_C` is built for one build of torch; beside another (a CPU-only one) it does not load, and then `import
    torchvision` fails on operators that do not exist. muntin never calls them; a declared schema is enough.
    """
    for compiled in [*folder.glob("_C*.so"), *folder.glob("_C*.pyd")]:
        try:
            torch.ops.load_library(str(compiled))  # torchvision loads the same file again, which changes nothing
        except OSError:
            continue
    missing = [name for name in ("nms", "qnms") if not hasattr(torch.ops.torchvision, name)]
    if missing:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in missing:
            library.define(name + _SCHEMA)
        _libraries.append(library)
