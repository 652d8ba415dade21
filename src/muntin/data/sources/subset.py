"""A part of a source: given samples, a few labels a class, or a held-out share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from muntin.data.sources.listing import listing
from muntin.data.sources.source import Sample, Source, Splits
from muntin.errors import UserError


class Subset:
    """Some samples of a source, in the given order, with the source's classes."""

    def __init__(self, source: Source, indices: Sequence[int]):
        self.source, self.indices, self.classes = source, [int(index) for index in indices], source.classes

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, index: int) -> Sample:
        return self.source.read(self.indices[index])

    def label(self, index: int) -> int | None:
        return self.source.label(self.indices[index])

    def name(self, index: int) -> str:
        return self.source.name(self.indices[index])

    def shards(self) -> np.ndarray | None:
        shards = self.source.shards()
        return None if shards is None else shards[self.indices]


def few_labels(source: Source, per_class: int, seed: int) -> Subset:
    """Keep `per_class` samples of every class, drawn by `seed`. A smaller draw is part of a larger one of that seed.

    Raises `UserError` for a source without labels, `per_class` below 1, or classes with too few samples.
    """
    if not source.classes:
        raise UserError(
            "labels_per_class needs labels, and these pictures have none: give class folders or a CSV of path,label"
        )
    if per_class < 1:
        raise UserError(f"labels_per_class is {per_class}; it must be at least 1")
    shuffled = _shuffled_by_class(source, seed)
    if small := [
        f"{name} ({len(members)})" for name, members in zip(source.classes, shuffled) if len(members) < per_class
    ]:
        raise UserError(f"labels_per_class is {per_class}, and these classes have fewer pictures: {listing(small)}")
    return Subset(source, sorted(index for members in shuffled for index in members[:per_class]))


def hold_out(source: Source, share: float, seed: int) -> Splits:
    """Split off `share` of every class (of all pictures where there are no labels) for validation, drawn by `seed`.

    At least one picture of each class goes to either side; a class of a single picture is only trained on. Share 0,
    or pictures too few to split, give no validation.
    """
    if not 0 <= share < 1:
        raise UserError(f"the share of pictures held out for validation is {share}; it must be at least 0 and below 1")
    if share == 0:
        return Splits(source, None)
    train: list[int] = []
    val: list[int] = []
    for members in _shuffled_by_class(source, seed):
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        val += members[:count]
        train += members[count:]
    return Splits(Subset(source, sorted(train)), Subset(source, sorted(val)) if val else None)


def _shuffled_by_class(source: Source, seed: int) -> list[list[int]]:
    """For each class its samples in an order drawn by (seed, class); one list of all where there are no labels."""
    labels = np.array([source.label(index) or 0 for index in range(len(source))])
    by_class, count = np.argsort(labels, kind="stable"), max(len(source.classes), 1)
    members = np.split(by_class, np.cumsum(np.bincount(labels, minlength=count))[:-1])
    return [np.random.default_rng((seed, label)).permutation(members[label]).tolist() for label in range(count)]
