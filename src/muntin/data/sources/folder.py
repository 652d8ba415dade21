"""Labelled pictures in class folders."""

from __future__ import annotations

from pathlib import Path

from muntin.data.sources.files import Files, folders_in, pictures_below
from muntin.data.sources.listing import listing
from muntin.errors import UserError


class Folder(Files):
    """`root/<class>/*`, with further folders below a class allowed. A label is the class's place in the sorted names.

    Raises `UserError` when the folder is empty, has pictures but no class folders, a class without pictures, or only
    one class.
    """

    def __init__(self, root: str | Path):
        root = Path(root)
        classes = folders_in(root)
        if not classes:
            loose = len(pictures_below(root))
            if not loose:
                raise UserError(f"{root} is empty; it needs class folders with pictures, {root}/<class>/*.jpg")
            raise UserError(
                f"{root} has {loose} pictures but no class folders: move them to {root}/<class>/*.jpg, list them in a "
                "CSV file of path,label, or pre-train on them without labels"
            )
        below = {name: pictures_below(root / name) for name in classes}
        empty = [name for name, paths in below.items() if not paths]
        if len(empty) == len(classes):
            raise UserError(f"{root} is empty: its class folders ({listing(classes)}) have no pictures")
        if empty:
            raise UserError(f"class folders without pictures in {root}: {listing(empty)}; fill or remove them")
        if len(classes) == 1:
            raise UserError(f"{root} has one class ({classes[0]}); a classifier needs at least two class folders")
        super().__init__(
            paths=[path for name in classes for path in below[name]],
            labels=[label for label, name in enumerate(classes) for _ in below[name]],
            classes=tuple(classes),
        )
