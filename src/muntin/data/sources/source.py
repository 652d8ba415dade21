"""What every source offers: a length, class names, and samples by number."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import Image

from muntin.data.decoding.orientation import upright
from muntin.data.sources.place import Place


class Sample(NamedTuple):
    """One thing to learn from, or to answer about."""

    inputs: dict[str, Any]  # what a model sees: "image", a Pillow picture that transforms turn into a tensor
    target: dict[str, Any]  # what it should say: "label", the number of a class; {} where nobody knows
    name: str  # what a person calls it, for error messages: mostly a path
    place: Place


def picture_sample(image: Image.Image, name: str, label: int | None = None) -> Sample:
    """A picture, turned upright, as a sample; without `label` it has no target."""
    image = upright(image)
    return Sample({"image": image}, {} if label is None else {"label": label}, name, Place((image.height, image.width)))


class Source(Protocol):
    """Samples numbered 0 .. len - 1. Implementations hold no open files, so that worker processes can receive them."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is a place in this tuple. () for samples without labels."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> Sample:
        """Decode one sample; a picture is upright. Raises `UserError` with its name where the file is no picture."""

    def label(self, index: int) -> int | None:
        """The label alone, without decoding."""

    def name(self, index: int) -> str:
        """The file's name alone, without decoding."""

    def shards(self) -> np.ndarray | None:
        """The shard number of each sample, (len,) int64; None if any order is equally quick to read."""


class Splits(NamedTuple):
    """Pictures to train on, and those held out (None: nothing was held out)."""

    train: Source
    val: Source | None
