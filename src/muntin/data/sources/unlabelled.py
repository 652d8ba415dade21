"""Pictures without labels, for pre-training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from muntin.data.sources.files import Files, pictures_below
from muntin.data.sources.source import Sample, Source
from muntin.errors import UserError


class Unlabelled(Files):
    """All pictures anywhere below `root`, in sorted order. Raises `UserError` when there is none."""

    def __init__(self, root: str | Path):
        paths = pictures_below(Path(root))
        if not paths:
            raise UserError(f"{root} is empty; it needs pictures (.jpg, .png, ...) anywhere below it")
        super().__init__(paths)


class WithoutLabels:
    """A labelled source with its labels hidden."""

    classes: tuple[str, ...] = ()

    def __init__(self, source: Source):
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def read(self, index: int) -> Sample:
        return self.source.read(index)._replace(target={})

    def label(self, index: int) -> None:
        return None

    def name(self, index: int) -> str:
        return self.source.name(index)

    def shards(self) -> np.ndarray | None:
        return self.source.shards()
