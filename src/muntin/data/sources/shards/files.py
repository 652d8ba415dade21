"""Which tar shards a place holds: to train on, to validate on, and the names of their classes."""

from __future__ import annotations

import os
import re
from itertools import chain
from typing import NamedTuple

from muntin.data.sources.files import SUFFIXES
from muntin.data.sources.listing import listing
from muntin.data.sources.shards.storage import inside, is_url, names_in, opened
from muntin.errors import UserError

VALIDATION = ("val", "valid", "validation")
SPLIT = re.compile(r"(?:^|[-_.])(train|val|valid|validation)(?=[-_.])")  # a word of a shard's name
CLASS_LIST_LIMIT = 2**24  # bytes of classes.txt


class ShardFiles(NamedTuple):
    """Places of tar files. `val` is empty if no shards are set apart, `classes` if there is no classes.txt."""

    train: list[str]
    val: list[str]
    classes: tuple[str, ...]


def find_shards(place: str) -> ShardFiles | None:
    """The shards of a folder, a URL or a single .tar file; None for a local place that is none of them.

    - `train/*.tar`, with `val/*.tar` (or valid, validation);
    - `*.tar`, split by the word train, val, valid or validation in their names: `train-0000.tar`, `set-val-0.tar`;
    - `*.tar` without these words, which are not split.
    A tar file beside pictures, or folders of them, is no shard: somebody unpacked it there.
    classes.txt lies in the folder that is given: a name a line, the first is class 0.

    Raises `UserError` for a URL without shards, and where only some shards say their split.
    """
    if place.lower().endswith(".tar") and not os.path.isdir(place):
        return ShardFiles([place], [], ())
    names = names_in(place)
    below = {name: inside(place, name) for name in ("train", *VALIDATION) if f"{name}/" in names}
    found = {name: tars for name, folder in below.items() if (tars := _tar_files(folder, names_in(folder)))}
    if not found:
        found = _by_name(place, _tar_files(place, names))
    if not found and is_url(place):
        raise UserError(f"there are no tar shards at {place}; it needs *.tar, or train/*.tar and val/*.tar")
    if not found:
        return None
    classes = _class_names(inside(place, "classes.txt")) if "classes.txt" in names else ()
    held_out = [name for name in VALIDATION if found.get(name)]
    if len(held_out) > 1:
        raise UserError(f"{place} has shards named {listing(held_out)}: keep one kind for validation")
    if not found.get("train"):
        raise UserError(f"{place} has shards for {held_out[0]} but none for train")
    return ShardFiles(found["train"], found[held_out[0]] if held_out else [], classes)


def _tar_files(folder: str, names: list[str]) -> list[str]:
    """The tar files of a folder; [] where pictures lie beside or below, which then are the data."""
    shown = [name for name in names if not name.startswith(".")]
    tars = [inside(folder, name) for name in shown if name.lower().endswith(".tar")]
    if tars and not is_url(folder):
        below = (inside(folder, name) for name in shown if name.endswith("/"))
        files = chain(shown, (name for each in below for _, _, files in os.walk(each) for name in files))
        if any(name.lower().endswith(SUFFIXES) for name in files):
            return []
    return tars


def _by_name(folder: str, places: list[str]) -> dict[str, list[str]]:
    """Shards by the split in their names; all under train where none says one."""
    found: dict[str, list[str]] = {}
    for place in places:
        word = SPLIT.search(place.replace("\\", "/").rsplit("/", 1)[-1])
        found.setdefault(word[1] if word else "", []).append(place)
    if list(found) in ([], [""]):
        return {"train": places} if places else {}
    if unsaid := found.get(""):
        raise UserError(f"{folder} has shards for {listing(set(found) - {''})} and some that do not say: {unsaid[0]}")
    return found


def _class_names(place: str) -> tuple[str, ...]:
    with opened(place) as file:
        content = file.read(CLASS_LIST_LIMIT + 1)
    if len(content) > CLASS_LIST_LIMIT:
        raise UserError(f"{place} is longer than {CLASS_LIST_LIMIT:,} bytes; it needs one class name a line")
    try:
        names = tuple(line.strip() for line in content.decode("utf-8-sig").splitlines() if line.strip())
    except UnicodeDecodeError as error:
        raise UserError(f"{place} is not a text in UTF-8 ({error})") from None
    if len(names) < 2 or len(set(names)) < len(names):
        raise UserError(f"{place} needs two class names or more, one a line, none twice")
    return names
