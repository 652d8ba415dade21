"""Reading one batch: what a worker process does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from muntin.data.loading.streams import batch_stream, replacement_stream, sample_stream
from muntin.data.sources.source import Source
from muntin.data.transforms.mixing import Mixing
from muntin.data.transforms.transform import Transform
from muntin.errors import RunError, UserError

REPLACEMENTS = 32  # tries to fill the place of a bad picture; where bad_share is below a half they never run out

Batch = dict[str, Any]


class Work(NamedTuple):
    """Which batch to read: batch `number` of `epoch`, made of the samples' `views` (see `Order`)."""

    epoch: int
    number: int
    views: np.ndarray


class Bad(NamedTuple):
    """A picture that cannot be read or transformed."""

    name: str
    reason: str


class Read(NamedTuple):
    """What became of a `Work`. `batch` is None where all pictures were left out."""

    batch: Batch | None
    bad: list[Bad]


class Reader:
    """Reads, transforms, collates and mixes one batch. A function of (seed, rank, work) and the files alone.

    A picture's own changes and mask follow from (seed, epoch, view), whatever the process. Mixing takes partners from
    this batch and draws by rank, so it alone depends on how many processes share an update.
    on_bad: whether a bad picture raises `UserError`, gives its place to another one, or is left out.
    """

    def __init__(
        self,
        source: Source,
        transform: Transform,
        *,
        seed: int,
        rank: int,
        mixing: Mixing | None,
        on_bad: Literal["raise", "replace", "leave out"] = "raise",
    ):
        self.source, self.transform, self.mixing = source, transform, mixing
        self.seed, self.rank, self.on_bad = seed, rank, on_bad

    def read(self, work: Work) -> Read:
        """ "image" (B, C, H, W) and whatever else the transform gives; "label" (B,), "index" (B,), "name"; "target"."""
        samples: list[_Sample] = []
        bad: list[Bad] = []
        for view in work.views.tolist():
            for candidate in self._candidates(work.epoch, view):
                sample = self._sample(work.epoch, view, candidate)
                if isinstance(sample, _Sample):
                    samples.append(sample)
                    break
                bad.append(sample)
            else:
                if self.on_bad == "replace":
                    raise UserError(
                        f"{self.source.name(view % len(self.source))} and {REPLACEMENTS} others tried in its place "
                        f"cannot be read; the last: {bad[-1].reason}"
                    )
        return Read(self._batch(work, samples) if samples else None, bad)

    def __getitem__(self, work: Work) -> Read | UserError | RunError:
        """`read` for a worker process: a sentence is handed over whole, where raising would add a traceback."""
        try:
            return self.read(work)
        except (UserError, RunError) as error:
            return error

    def _candidates(self, epoch: int, view: int) -> Iterator[int]:
        """The sample that `view` is one of, and those that may stand in for it."""
        yield view % len(self.source)
        if self.on_bad == "replace":
            rng = replacement_stream(self.seed, epoch, view)
            yield from rng.integers(len(self.source), size=REPLACEMENTS).tolist()

    def _sample(self, epoch: int, view: int, candidate: int) -> _Sample | Bad:
        """Sample `candidate`, changed as `view` says."""
        try:
            image, label, name = self.source.read(candidate)
            try:
                tensors = self.transform(image, sample_stream(self.seed, epoch, view))
            except UserError as error:
                raise UserError(f"{name}: {error}") from error
        except UserError as error:
            if self.on_bad == "raise":
                raise
            return Bad(self.source.name(candidate), str(error))
        return _Sample(tensors, label, name, candidate)

    def _batch(self, work: Work, samples: list[_Sample]) -> Batch:
        tensors, labels, names, indices = zip(*samples)
        batch: Batch = {key: torch.stack([each[key] for each in tensors]) for key in tensors[0]}
        if self.source.classes:
            batch["label"] = torch.tensor(labels)
        batch["index"] = torch.tensor(indices)
        batch["name"] = list(names)
        if self.mixing:
            batch = self.mixing(batch, batch_stream(self.seed, work.epoch, work.number, self.rank))
        return batch


class _Sample(NamedTuple):
    tensors: dict[str, torch.Tensor]
    label: int | None
    name: str
    number: int
