"""Reads one batch: the work of a worker process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from muntin.data.loading.batch import Batch, Collate, Prepare
from muntin.data.loading.mixing import Mixing
from muntin.data.loading.streams import batch_stream, replacement_stream, sample_stream
from muntin.data.sources.source import Sample, Source
from muntin.data.transforms.transform import Transform
from muntin.errors import RunError, UserError

REPLACEMENTS = 32  # tries to fill the place of a bad picture; where bad_share is below a half they never run out


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
    """The result of a `Work`. `batch` is None where all pictures were left out."""

    batch: Batch | None
    bad: list[Bad]


class Reader:
    """Reads, transforms, prepares, collates and mixes one batch. The result depends on (seed, rank, work) and the files
    only.

    The randomness of a sample follows from (seed, epoch, view), whatever the process. Only mixing depends on how many
    processes share an update: it takes partners from this batch and draws by rank.

    on_bad: whether a bad picture raises `UserError`, is replaced by another one, or is left out.
    """

    def __init__(
        self,
        source: Source,
        transform: Transform,
        *,
        prepare: Prepare,
        collate: Collate,
        training: bool,
        seed: int,
        rank: int,
        mixing: Mixing | None,
        on_bad: Literal["raise", "replace", "leave out"] = "raise",
    ):
        self.source, self.transform, self.prepare, self.collate = source, transform, prepare, collate
        self.training, self.mixing = training, mixing
        self.seed, self.rank, self.on_bad = seed, rank, on_bad

    def read(self, work: Work) -> Read:
        """Read one batch, and name the pictures in it that could not be read."""
        samples: list[Sample] = []
        indices: list[int] = []
        bad: list[Bad] = []
        for view in work.views.tolist():
            for candidate in self._candidates(work.epoch, view):
                sample = self._sample(work.epoch, view, candidate)
                if isinstance(sample, Sample):
                    samples.append(sample)
                    indices.append(candidate)
                    break
                bad.append(sample)
            else:
                if self.on_bad == "replace":
                    raise UserError(
                        f"{self.source.name(view % len(self.source))} and {REPLACEMENTS} others tried in its place "
                        f"cannot be read; the last: {bad[-1].reason}"
                    )
        return Read(self._batch(work, samples, indices) if samples else None, bad)

    def __getitem__(self, work: Work) -> Read | UserError | RunError:
        """`read` for a worker process. Returns an error instead of raising it, since torch would add a traceback."""
        try:
            return self.read(work)
        except (UserError, RunError) as error:
            return error

    def _candidates(self, epoch: int, view: int) -> Iterator[int]:
        """The sample that `view` shows, and those that may replace it."""
        yield view % len(self.source)
        if self.on_bad == "replace":
            rng = replacement_stream(self.seed, epoch, view)
            yield from rng.integers(len(self.source), size=REPLACEMENTS).tolist()

    def _sample(self, epoch: int, view: int, candidate: int) -> Sample | Bad:
        """Sample `candidate`, changed as `view` says."""
        try:
            sample, rng = self.source.read(candidate), sample_stream(self.seed, epoch, view)
            try:
                return self.prepare(self.transform(sample, rng), rng, self.training)
            except UserError as error:
                raise UserError(f"{sample.name}: {error}") from error
        except UserError as error:
            if self.on_bad == "raise":
                raise
            return Bad(self.source.name(candidate), str(error))

    def _batch(self, work: Work, samples: list[Sample], indices: list[int]) -> Batch:
        batch = self.collate(samples, indices)
        if self.mixing:
            batch = self.mixing(batch, batch_stream(self.seed, work.epoch, work.number, self.rank))
        return batch
