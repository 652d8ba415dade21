"""Finds out whose weights a file holds: the files of every family in the catalog answer the same two questions."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from muntin.catalog import FILES
from muntin.errors import UserError
from muntin.formats.layout import OURS_ALONE, Files, Foreign, clip_kernel


def files_of(tensors: Mapping[str, Tensor]) -> Files | None:
    """The files of the family with these names and shapes; None if no family has them."""
    return next((files for files in FILES if files.recognise(tensors)), None)


def read(tensors: Mapping[str, Tensor], grid: tuple[int, ...] | None = None) -> Foreign:
    """Read the tensors of a file under our names, and what else it tells.

    grid: tokens along each axis of position embeddings stored as a sequence, if they have so many; any other is square.
    Raises UserError for a file of no known layout, and for one with keys that its layout does not explain.
    """
    if files := files_of(tensors):
        return files.read(tensors, grid)
    if OURS_ALONE.recognise_names(tensors):
        return OURS_ALONE.read(tensors, grid)
    _check_clips(tensors)
    shown = f"the first keys are {', '.join(list(tensors)[:3])}" if tensors else "the file holds no tensors"
    raise UserError(f"these are no weights of {', '.join(files.title for files in FILES)} in any known layout; {shown}")


def _check_clips(tensors: Mapping[str, Tensor]) -> None:
    """Raise UserError for the weights of a clip model that has the names of a picture model."""
    key = clip_kernel(tensors)
    for files in FILES if key else ():
        if layout := files.recognise_names(tensors):
            raise UserError(
                f"these weights have the names of {files.title} ({layout} layout), but {key} is of shape "
                f"{tuple(tensors[key].shape)}: they are of a model for clips, which muntin does not have"
            )
