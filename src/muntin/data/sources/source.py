"""What every source of pictures offers: a length, class names, and pictures by number."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image


class Sample(NamedTuple):
    """One decoded picture. `label` is None where there are no classes; `name` says in error messages which it was."""

    image: Image.Image
    label: int | None
    name: str


class Source(Protocol):
    """Pictures numbered 0 .. len - 1. Implementations hold no open files, so that worker processes can receive them."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is a place in this tuple. () for pictures without labels."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> Sample:
        """Decode one picture, upright. A file that is no picture raises `UserError` with its name."""

    def label(self, index: int) -> int | None:
        """The label alone, without decoding."""

    def name(self, index: int) -> str:
        """The file's name alone, without decoding."""


def shards_of(source: Source) -> np.ndarray | None:
    """The number of the shard that each sample lies in, (len,) int64, for sources that are quick when read shard by
    shard; None for all others, which have no method `shards`.
    """
    shards = getattr(source, "shards", None)
    return shards() if shards else None


class Splits(NamedTuple):
    """Pictures to train on, and those held out (None: nothing was held out)."""

    train: Source
    val: Source | None
