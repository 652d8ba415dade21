"""A source of picture files on disk. `folder.py`, `csv.py` and `unlabelled.py` say where their labels come from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from muntin.data.decoding.picture import open_picture
from muntin.data.sources.source import Sample, picture_sample
from muntin.errors import UserError

SUFFIXES = (".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")


class Files:
    """Picture files, decoded when read. `labels` is None for unlabelled ones. A file's name is its path."""

    def __init__(self, paths: Sequence[str], labels: Sequence[int] | None = None, classes: tuple[str, ...] = ()):
        self.paths, self.labels, self.classes = paths, labels, classes

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Sample:
        return read_picture(self.paths[index], self.label(index))

    def label(self, index: int) -> int | None:
        return None if self.labels is None else self.labels[index]

    def name(self, index: int) -> str:
        return self.paths[index]

    def shards(self) -> None:
        return None


def read_picture(path: str, label: int | None = None) -> Sample:
    """Decode the picture file at `path`, within the limits of `open_picture`, and name it by its path."""
    return picture_sample(open_picture(path), path, label)


def pictures_below(root: Path) -> list[str]:
    """Paths of all pictures in a folder tree, sorted; by suffix, hidden files and folders left out, links followed."""
    return [path for path in files_below(root) if path.lower().endswith(SUFFIXES)]


def files_below(root: Path) -> list[str]:
    """Paths of all files in a folder tree, sorted; hidden files and folders left out, links followed.

    Raises `UserError` for a folder that cannot be listed: otherwise a class would seem to be empty.
    """
    found, seen = [], set()
    for folder, inner, files in os.walk(root, followlinks=True, onerror=_refuse):
        real = os.path.realpath(folder)
        if real in seen:  # a link back up the tree
            inner.clear()
            continue
        seen.add(real)
        inner[:] = [name for name in inner if not name.startswith(".")]
        found += [os.path.join(folder, name) for name in files if not name.startswith(".")]
    return sorted(found)


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename} cannot be listed ({error.strerror}); it may hold pictures") from error


def folders_in(root: Path) -> list[str]:
    """Names of the folders directly in `root`, sorted, hidden ones left out."""
    return sorted(entry.name for entry in os.scandir(root) if is_folder(entry) and not entry.name.startswith("."))


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; a link that leads back to itself is no folder."""
    try:
        return entry.is_dir()
    except OSError:
        return False
