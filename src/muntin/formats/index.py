"""Whose weights are these? Every family's files behind the same four functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import ModuleType

from torch import Tensor

from muntin.errors import UserError

from . import beit, convnext, convnext_roadmap, cvt, swin, vit
from .layout import Foreign as Foreign
from .layout import Sizes as Sizes

# each with TITLE, LAYOUTS, WRITABLE, INSIDE, recognise, read, write, sizes; ARRAYS where layouts are kept in .npz,
# PIXELS where the code of a layout takes pixels otherwise than with ImageNet's mean and standard deviation
FILES: tuple[ModuleType, ...] = (swin, vit, beit, cvt, convnext, convnext_roadmap)

# parts of our own models, for one that the catalog does not know
_OURS = ("backbone.", "readout.", "norms.", "norm.", "decoder.", "mask_token")


def files_of(keys: Iterable[str]) -> ModuleType | None:
    """The module of the family that these keys belong to; None if they belong to none."""
    keys = list(keys)
    return next((files for files in FILES if files.recognise(keys)), None)


def recognise(keys: Iterable[str]) -> str | None:
    """The layout that these keys belong to; None if it is none that any family knows."""
    keys = list(keys)
    files = files_of(keys)
    return files.recognise(keys) if files else None


def read(state: Mapping[str, Tensor], grid: tuple[int, ...] | None = None) -> Foreign:
    """The tensors of a file under our names, and what else it tells.

    grid: tokens along each axis of position embeddings stored as a sequence, if they have so many; any other is square.
    Raises UserError for a file of no known layout, and for one with keys that its layout does not explain.
    """
    if files := files_of(state):
        return files.read(state, grid)
    if state and all(key.startswith(_OURS) for key in state):
        return Foreign("muntin", dict(state), {})
    shown = f"the first keys are {', '.join(list(state)[:3])}" if state else "the file holds no tensors"
    raise UserError(f"these are no weights of {', '.join(files.TITLE for files in FILES)} in any known layout; {shown}")
