"""Surveys a place that should hold data: its layout and every picture in it, also if much is wrong.

`open_data` stops at the first thing that it cannot accept. This survey collects all of them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from muntin.data.decoding.picture import open_picture
from muntin.data.sources.csv import SPLITS, read_rows
from muntin.data.sources.files import SUFFIXES, files_below, folders_in
from muntin.data.sources.listing import listing
from muntin.data.sources.open import open_data
from muntin.data.sources.shards.files import VALIDATION, ShardFiles, find_shards
from muntin.data.sources.shards.shards import Shards
from muntin.data.sources.shards.storage import is_url
from muntin.data.sources.source import Source
from muntin.errors import UserError


class Entry(NamedTuple):
    """One picture that is listed, whether it can be read or not."""

    name: str
    split: str  # "train", "val", or "" where the data does not say
    label: str  # name of its class; "" where there are no labels
    open: Callable[[], Image.Image]  # raises UserError


@dataclass
class Layout:
    """How the data is laid out. Training refuses data with `problems`; `notes` are worth knowing."""

    kind: str
    labelled: bool
    entries: list[Entry] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def survey(place: str | Path) -> Layout:
    """List what is there. Raises `UserError` only if there is nothing, or something that cannot be data."""
    if str(place) == "digits":
        return _digits()
    path = Path(place)
    if is_url(str(place)) or path.exists():
        try:
            shards = find_shards(str(place))
        except UserError as error:
            return Layout("tar shards", labelled=True, problems=[str(error)])
        if shards:
            return _shards(shards)
    if path.is_dir():
        return _folder(path)
    if path.is_file() and path.suffix.lower() == ".csv":
        return _table(path)
    raise UserError(
        f"there is no data at {place}; muntin needs a folder of pictures or tar shards, a URL of shards, a .csv file "
        "of path,label, or 'digits'"
    )


def _digits() -> Layout:
    train, val = open_data("digits")
    return Layout("the built-in digits", True, [*_entries(train, "train"), *(_entries(val, "val") if val else [])])


def _shards(files: ShardFiles) -> Layout:
    layout = Layout("tar shards", labelled=True)
    for split, places in (("train" if files.val else "", files.train), ("val", files.val)):
        if not places:
            continue
        try:
            layout.entries += _entries(Shards(places, classes=files.classes), split)
        except UserError as error:
            layout.problems.append(str(error))
            layout.labelled = False  # the rest is looked at without them: they may be what is wrong
            for place in places:
                with suppress(UserError):  # named above
                    layout.entries += _entries(Shards([place], labelled=False), split)
    return layout


def _entries(source: Source, split: str) -> list[Entry]:
    labels = [source.label(index) for index in range(len(source))]
    return [
        Entry(source.name(index), split, "" if label is None else source.classes[label], partial(_read, source, index))
        for index, label in enumerate(labels)
    ]


def _read(source: Source, index: int) -> Image.Image:
    return source.read(index).inputs["image"]


def _folder(root: Path) -> Layout:
    folders = folders_in(root)
    held_out = [name for name in VALIDATION if name in folders]
    train_is_split = "train" in folders and (bool(held_out) or folders == ["train"] or folders_in(root / "train"))
    parts = {root / "train": "train"} if train_is_split else {}
    parts |= {root / name: "val" for name in held_out}
    if train_is_split and not held_out:
        parts = {root / "train": ""}
    labelled = any(_pictures(inner / name) for inner in parts or [root] for name in folders_in(inner))
    kind = "class folders" if labelled else "pictures without labels"
    layout = Layout(f"{kind} in {' and '.join(f'{part.name}/' for part in parts)}" if parts else kind, labelled)
    if len(held_out) > 1:
        layout.problems.append(f"{root} has {listing(held_out)}: keep one folder for validation")
    if held_out and not train_is_split:
        layout.problems.append(
            f"{root} has {held_out[0]}/ but no train/: put the pictures to train on into {root}/train"
        )
    if parts and (unused := [name for name in folders if root / name not in parts]):
        layout.notes.append(f"folders beside {listing(part.name for part in parts)} are not used: {listing(unused)}")
    for part, split in (parts or {root: ""}).items():
        _class_folders(part, split, layout)
    _note_other_files(list(parts) or [root], layout)
    return layout


def _class_folders(root: Path, split: str, layout: Layout) -> None:
    if not layout.labelled:
        layout.entries += _files(_pictures(root), split, "")
        return
    below = {name: _pictures(root / name) for name in folders_in(root)}
    for name, paths in below.items():
        layout.entries += _files(paths, split, name)
    if empty := [name for name, paths in below.items() if not paths]:
        layout.problems.append(f"class folders without pictures in {root}: {listing(empty)}; fill or remove them")
    if loose := sum(map(_is_picture, os.listdir(root))):
        layout.notes.append(f"{loose} pictures directly in {root} are in no class folder, and are not used")


def _files(paths: Iterable[str], split: str, label: str) -> list[Entry]:
    return [Entry(path, split, label, partial(open_picture, path)) for path in paths]


def _pictures(root: Path) -> list[str]:
    return list(filter(_is_picture, files_below(root)))


def _is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not os.path.basename(name).startswith(".")


def _note_other_files(roots: Iterable[Path], layout: Layout) -> None:
    others = [file for root in roots for file in files_below(root) if not _is_picture(file)]
    suffixes = Counter(Path(file).suffix.lower() or "no suffix" for file in others)
    if others:
        shown = listing(f"{suffix} ({count:,})" for suffix, count in suffixes.most_common())
        layout.notes.append(f"files left out by their suffix: {shown}; pictures are {' '.join(SUFFIXES)}")


def _table(path: Path) -> Layout:
    rows, columns = read_rows(path)
    layout = Layout("a table of path,label", labelled="label" in columns)
    if "path" not in columns:
        layout.problems.append(
            f"{path} has no column path: its first line must name the columns path,label "
            f"(found: {listing(columns) or 'nothing'})"
        )
        return layout
    if not layout.labelled:
        layout.kind = "a table of paths without labels"
    for name in [name for name in ("path", "label", "split") if name in columns]:
        if blank := [str(number) for number, row in rows if not row[name]]:
            layout.problems.append(f"{path}: lines without {name}: {listing(blank)}")
    if unknown := [
        f"{row['split']} in line {number}" for number, row in rows if row.get("split") and row["split"] not in SPLITS
    ]:
        layout.problems.append(f"{path}: unknown splits, where train or val is needed: {listing(unknown)}")
    for _, row in rows:
        if row["path"]:
            file = str(path.parent / row["path"])
            split = SPLITS.get(row.get("split", ""), "")
            layout.entries.append(Entry(file, split, row.get("label", ""), partial(open_picture, file)))
    return layout
