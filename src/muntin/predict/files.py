"""Finds the pictures that a user names, and names the files for drawings of them."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from muntin.data.sources.digits import Digits
from muntin.data.sources.files import SUFFIXES, pictures_below
from muntin.data.sources.source import Sample
from muntin.errors import UserError


class Picture(NamedTuple):
    """A picture not read yet. `read` raises UserError, naming the file, if it is no picture."""

    name: str
    read: Callable[[], Sample]


def find_pictures(places: Iterable[str | Path], read: Callable[[str], Sample]) -> list[Picture]:
    """Take files as they are, search folders in depth, expand globs (`**` too); sorted within a place, none twice.

    A file that is named in full is taken whatever its ending; in folders and globs the ending decides. "digits" is the
    built-in held-out set (a folder of that name is "./digits"). read: makes a sample of a file, as a model's inputs do.
    Raises UserError for a place that does not exist or has no pictures.
    """
    found: dict[str, Picture] = {}
    for place in map(str, places):
        pictures = _held_out_digits() if place == "digits" else [Picture(p, partial(read, p)) for p in _paths(place)]
        found |= {picture.name: picture for picture in pictures}
    return list(found.values())


def drawn_file(folder: Path, name: str, taken: set[Path]) -> Path:
    """The file for the drawing of the picture `name`: `folder/<stem>.png`, numbered if that is taken.

    taken: resolved paths of the pictures themselves, which are never written over, and of earlier drawings; gets this
    one.
    """
    stem, number = Path(name).stem, 1
    file = folder / f"{stem}.png"
    while file.resolve() in taken:
        number += 1
        file = folder / f"{stem}_{number}.png"
    taken.add(file.resolve())
    return file


def _held_out_digits() -> list[Picture]:
    digits = Digits("val")
    return [Picture(digits.name(i), partial(digits.read, i)) for i in range(len(digits))]


def _paths(place: str) -> list[str]:
    path = Path(place)
    if path.is_file():
        return [place]
    if path.is_dir():
        found = pictures_below(path)
    elif glob.has_magic(place):
        found = sorted(p for p in glob.glob(place, recursive=True) if Path(p).suffix.lower() in SUFFIXES)
    else:
        raise UserError(f"there is no file or folder {place}; give picture files, folders or globs")
    if not found:
        raise UserError(f"no pictures in {place}; looked for {' '.join(sorted(SUFFIXES))}")
    return found
