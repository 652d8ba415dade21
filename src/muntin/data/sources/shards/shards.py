"""Pictures in webdataset tar shards, in a local folder or an object store."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate

import numpy as np

from muntin.data.decoding.picture import FILE_LIMIT, decode_picture
from muntin.data.sources.class_names import sorted_classes
from muntin.data.sources.listing import listing
from muntin.data.sources.shards.index import ShardIndex, index_shard
from muntin.data.sources.shards.storage import Ranges, opened
from muntin.data.sources.source import Sample, picture_sample
from muntin.errors import UserError, unknown

AT_ONCE = 8  # shards indexed side by side: stores answer late, but many at a time


class Shards:
    """The pictures of tar shards, each read from its place in its shard. A name is `shard.tar!member`.

    The headers of every shard are read once, at the start (`index.py`), so that any sample can be read at any time.
    classes: the lines of classes.txt, where there is one; a label is then the number or the text of a line. Without it
    the classes are the labels found, sorted by number where all are whole numbers, else by letter.
    labelled: whether to read labels.

    Raises `UserError` naming every shard that is cut off, damaged or lacks labels; for labels outside `classes`; for
    one class only, and where there are no pictures.
    """

    classes: tuple[str, ...]
    """() with `labelled=False`."""

    def __init__(self, places: Sequence[str], *, classes: Sequence[str] = (), labelled: bool = True):
        self.places = list(places)
        self._indices, self._ranges = _indices(self.places, labelled), Ranges()
        self.starts = list(accumulate((len(index) for index in self._indices), initial=0))
        if not self.starts[-1]:
            raise UserError(f"no pictures in {listing(places, 3)}; a shard needs members key.jpg, key.png, ...")
        self.classes, self._labels = (), np.empty(0, np.int64)
        if labelled:
            self.classes, self._labels = _classes_and_labels(self.places, self._indices, tuple(classes))

    def __len__(self) -> int:
        return self.starts[-1]

    def read(self, index: int) -> Sample:
        shard, number = self._locate(index)
        place, at, name = self.places[shard], self._indices[shard], self.name(index)
        size = int(at.sizes[number])
        if size > FILE_LIMIT:
            raise UserError(f"{name} has {size:,} bytes, more than the {FILE_LIMIT:,} allowed for a picture")
        content = self._ranges.read(place, int(at.offsets[number]), size)
        return picture_sample(decode_picture(io.BytesIO(content), name), name, self.label(index))

    def label(self, index: int) -> int | None:
        return int(self._labels[index]) if self.classes else None

    def name(self, index: int) -> str:
        shard, number = self._locate(index)
        return f"{self.places[shard]}!{self._indices[shard].name(number)}"

    def shards(self) -> np.ndarray:
        """The number of the shard that each sample lies in, for `Order` to read shard by shard. (len,) int64."""
        return np.repeat(np.arange(len(self.places)), np.diff(self.starts))

    def _locate(self, index: int) -> tuple[int, int]:
        """Number of the shard, and of the sample in it."""
        shard = bisect_right(self.starts, index) - 1
        return shard, index - self.starts[shard]


def _indices(places: list[str], labelled: bool) -> list[ShardIndex]:
    def index(place: str) -> ShardIndex | UserError:
        try:
            with opened(place) as file:
                return index_shard(file, place, labelled=labelled)
        except UserError as error:
            return error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(index, places))
    if wrong := [str(each) for each in found if isinstance(each, UserError)]:
        raise UserError("; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} shards more" if len(wrong) > 5 else ""))
    return [each for each in found if isinstance(each, ShardIndex)]


def _classes_and_labels(
    places: list[str], indices: list[ShardIndex], listed: tuple[str, ...]
) -> tuple[tuple[str, ...], np.ndarray]:
    """All classes, and each sample's label as a place among them."""
    classes = listed or tuple(sorted_classes({text for index in indices for text in index.label_texts}))
    if len(classes) == 1:
        raise UserError(f"{listing(places, 1)}: one class ({classes[0]}); a classifier needs at least two")
    numbers = {name: number for number, name in enumerate(classes)}
    if listed:  # a whole number is a place in the list
        numbers |= {str(number): number for number in range(len(classes))}
    labels = [np.empty(0, np.int64)]
    for place, index in zip(places, indices):
        for text in index.label_texts:
            if text not in numbers and text.isdigit():
                raise UserError(f"{place} has label {text}, and classes.txt names {len(classes)} classes, from 0 on")
            if text not in numbers:
                raise unknown("class", text, classes, see=f"in {place}, not in classes.txt")
        labels.append(np.array([numbers[text] for text in index.label_texts], np.int64)[index.labels])
    return classes, np.concatenate(labels)
