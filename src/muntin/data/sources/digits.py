"""The built-in set: 5,000 handwritten digits (MNIST; source and licence in `digits/README.md`)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from muntin.data.sources.source import Sample, picture_sample
from muntin.errors import unknown

TRAIN, VAL = range(4000), range(4000, 5000)  # the file's order is the split: 400 and 100 of every digit


class Digits:
    """28 x 28 grey digits, white on black, ten classes. `split`: "train" (4,000) or "val" (1,000)."""

    classes: tuple[str, ...] = tuple("0123456789")

    def __init__(self, split: Literal["train", "val"]):
        if split not in ("train", "val"):
            raise unknown("split of digits", split, ["train", "val"])
        self.split, self._part = split, TRAIN if split == "train" else VAL

    def __len__(self) -> int:
        return len(self._part)

    def read(self, index: int) -> Sample:
        images, labels = _load()
        place = self._part[index]
        return picture_sample(Image.fromarray(images[place]), self.name(index), labels[place])

    def label(self, index: int) -> int:
        return _load()[1][self._part[index]]

    def name(self, index: int) -> str:
        return f"digits/{self.split}/{index:05d}"

    def shards(self) -> None:
        return None


@cache
def _load() -> tuple[np.ndarray, list[int]]:
    """Images uint8 (5000, 28, 28) and labels; read once a process."""
    with np.load(Path(__file__).parent / "digits" / "digits.npz", allow_pickle=False) as file:
        return file["images"], file["labels"].tolist()
