"""Finds everything that is wrong or unusual in a set of pictures, before a run."""

from __future__ import annotations

import hashlib
import os
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import NamedTuple

from muntin.data.checking.layout import Entry, Layout, survey
from muntin.data.decoding.picture import as_mode
from muntin.data.sources.listing import listing
from muntin.data.sources.open import open_data
from muntin.errors import UserError

FEW = 5  # pictures of a class to train on, below which it is noted
SMALL = 16  # pixels of the shorter side, below which a picture is noted
THREADS = 4  # decoding leaves Python, so that threads share the work; each may hold one large picture


@dataclass(frozen=True)
class Spread:
    """Smallest, middle and largest of some numbers."""

    min: float
    median: float
    max: float


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What `check_data` found. Plain values, so that `dataclasses.asdict` and JSON take them."""

    place: str
    layout: str
    """What was recognised, in words."""
    pictures: int
    """Pictures that are listed, readable or not."""
    counts: dict[str, dict[str, int]]
    """Pictures of each class in each split; split "" where the data has none, class "" where it has no labels."""
    missing: dict[str, list[str]]
    """Classes that train or val lacks and the other has."""
    width: Spread | None
    height: Spread | None
    """Pixels of the readable pictures, upright; None where there are none."""
    modes: dict[str, int]
    """Readable pictures of each Pillow mode, such as RGB, L (grey), CMYK, P (palette)."""
    unreadable: dict[str, str]
    """File -> why it cannot be read."""
    shared: list[list[str]]
    """Files with the same pixels that lie on both sides, train and val."""
    duplicates: list[list[str]]
    """Other files with the same pixels."""
    contradictions: list[list[str]]
    """Files with the same pixels and different labels; also in one of the two lists above."""
    problems: list[str]
    """What must be put right; empty for data that can be trained on."""
    notes: list[str]
    """What is worth a look."""


class _Look(NamedTuple):
    """One decoded picture: its upright size, its mode, and a digest of its size and pixels; or why it cannot be
    decoded.
    """

    entry: Entry
    size: tuple[int, int] = (0, 0)
    mode: str = ""
    digest: bytes = b""
    fault: str = ""


def check_data(place: str | Path, progress: Callable[[int, int], None] | None = None) -> Findings:
    """Look at every picture of a folder, a CSV file, shards or "digits". Returns everything that is wrong at once.

    Each file is decoded to its end; only this finds truncated ones. Two pictures are the same when their pixels are,
    upright and as RGB: a copy in another lossless format is found, one that was compressed again is not.

    progress: called with (done, all) after each picture. Raises `UserError` only if there is no data at all.
    """
    layout = survey(place)
    looks = []
    with ThreadPool(min(THREADS, os.cpu_count() or 1)) as pool:
        for look in pool.imap(_look, layout.entries, chunksize=8):
            looks.append(look)
            if progress:
                progress(len(looks), len(layout.entries))
    good = [look for look in looks if not look.fault]
    unreadable = {look.entry.name: look.fault for look in looks if look.fault}
    counts = _counts(layout.entries)
    missing = _missing(counts) if layout.labelled else {}
    groups = [group for group in _same_pixels(good) if len(group) > 1]
    shared = [group for group in groups if _is_shared(group)]
    duplicates = [group for group in groups if not _is_shared(group)]
    contradictions = [group for group in groups if len({entry.label for entry in group}) > 1]

    problems = [*layout.problems, *_class_problems(layout, counts, missing)]
    if unreadable:
        problems.append(f"{_count(len(unreadable), 'file')} cannot be read")
    if shared:
        several = _count(len(shared), "picture")
        why = "copies in val make the result look too good"
        problems.append(f"{several} in train and in val: {_shown(shared)}; {why}, keep one of each")
    if contradictions:
        shown = _shown(contradictions, labels=True)
        problems.append(f"the same picture with different labels: {shown}; keep the right one")
    if not problems:
        problems += _refusal(place, layout)
    return Findings(
        place=str(place),
        layout=layout.kind,
        pictures=len(looks),
        counts=counts,
        missing=missing,
        width=_spread(look.size[0] for look in good),
        height=_spread(look.size[1] for look in good),
        modes=dict(Counter(look.mode for look in good).most_common()),
        unreadable=unreadable,
        shared=_names(shared),
        duplicates=_names(duplicates),
        contradictions=_names(contradictions),
        problems=problems,
        notes=[*layout.notes, *_notes(layout, good, duplicates)],
    )


def _look(entry: Entry) -> _Look:
    try:
        image = entry.open()
        pixels = as_mode(image, "RGB")
    except UserError as error:
        return _Look(entry, fault=str(error) if entry.name in str(error) else f"{entry.name}: {error}")
    digest = hashlib.blake2b(b"%d %d" % image.size, digest_size=16)
    digest.update(pixels.tobytes())
    return _Look(entry, image.size, image.mode, digest.digest())


def _counts(entries: Iterable[Entry]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for entry in entries:
        split = counts.setdefault(entry.split, {})
        split[entry.label] = split.get(entry.label, 0) + 1
    return {split: dict(sorted(classes.items())) for split, classes in counts.items()}


def _missing(counts: dict[str, dict[str, int]]) -> dict[str, list[str]]:
    if not {"train", "val"} <= counts.keys():
        return {}
    train, val = counts["train"], counts["val"]
    lacks = {"train": [name for name in val if name not in train], "val": [name for name in train if name not in val]}
    return {split: names for split, names in lacks.items() if names}


def _class_problems(layout: Layout, counts: dict[str, dict[str, int]], missing: dict[str, list[str]]) -> Iterator[str]:
    if not layout.entries and not layout.problems:
        yield "there is no picture"
    elif layout.labelled and len(classes := {name for split in counts.values() for name in split}) == 1:
        yield f"there is one class ({listing(classes)}); a classifier needs at least two"
    other = {"train": "val", "val": "train"}
    for split, names in missing.items():
        yield f"{other[split]} has {_count(len(names), 'class')} missing from {split}: {listing(names)}"


def _notes(layout: Layout, good: list[_Look], duplicates: list[list[Entry]]) -> Iterator[str]:
    trained_on = Counter(look.entry.label for look in good if look.entry.split != "val")
    if layout.labelled and (few := [f"{name} ({n})" for name, n in sorted(trained_on.items()) if n < FEW]):
        yield f"classes with fewer than {FEW} pictures to train on: {listing(few)}"
    if small := [look.entry.name for look in good if min(look.size) < SMALL]:
        yield f"{_count(len(small), 'picture')} with a side below {SMALL} pixels: {listing(small, 3)}"
    if duplicates:
        yield f"the same picture more than once: {_shown(duplicates)}"


def _refusal(place: str | Path, layout: Layout) -> list[str]:
    """Why `open_data` refuses data that seems to be right; so a clean result always means usable data."""
    try:
        open_data(place, labelled=layout.labelled)
    except UserError as error:
        return [str(error)]
    return []


def _same_pixels(looks: Iterable[_Look]) -> list[list[Entry]]:
    groups: dict[bytes, list[Entry]] = defaultdict(list)
    for look in looks:
        groups[look.digest].append(look.entry)
    return list(groups.values())


def _is_shared(group: list[Entry]) -> bool:
    return {"train", "val"} <= {entry.split for entry in group}


def _names(groups: list[list[Entry]]) -> list[list[str]]:
    return [[entry.name for entry in group] for group in groups]


def _shown(groups: list[list[Entry]], labels: bool = False) -> str:
    return listing(
        (" = ".join(f"{e.name} ({e.label})" if labels else e.name for e in group[:4]) for group in groups), 3
    )


def _spread(values: Iterable[int]) -> Spread | None:
    values = list(values)
    return Spread(min(values), statistics.median(values), max(values)) if values else None


def _count(number: int, what: str) -> str:
    plural = {"class": "classes"}.get(what, f"{what}s")
    return f"{number:,} {what if number == 1 else plural}"
