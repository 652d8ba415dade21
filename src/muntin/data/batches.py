"""Reading one batch: what a worker process does."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from muntin.data.mixing import Mixing
from muntin.data.source import Source
from muntin.data.streams import batch_stream, sample_stream
from muntin.data.transform import Transform
from muntin.errors import UserError

Batch = dict[str, Any]


class Work(NamedTuple):
    """Which batch to read: batch `number` of `epoch`, made of the samples `indices`."""

    epoch: int
    number: int
    indices: np.ndarray


class Reader:
    """Reads, transforms, collates and mixes one batch. A function of (seed, rank, work) alone.

    A picture's own changes and mask follow from (seed, epoch, index), whatever the process. Mixing takes partners from
    this batch and draws by rank, so it alone depends on how many processes share an update.
    """

    def __init__(self, source: Source, transform: Transform, *, seed: int, rank: int, mixing: Mixing | None):
        self.source, self.transform, self.mixing = source, transform, mixing
        self.seed, self.rank = seed, rank

    def read(self, work: Work) -> Batch:
        """ "image" (B, C, H, W) and whatever else the transform gives; "label" (B,), "index" (B,), "name"; "target".

        Raises `UserError` naming the file where a picture cannot be read or transformed.
        """
        tensors, labels, names = [], [], []
        for index in work.indices.tolist():
            image, label, name = self.source.read(index)
            try:
                tensors.append(self.transform(image, sample_stream(self.seed, work.epoch, index)))
            except UserError as error:
                raise UserError(f"{name}: {error}") from error
            labels.append(label)
            names.append(name)
        batch: Batch = {key: torch.stack([each[key] for each in tensors]) for key in tensors[0]}
        if self.source.classes:
            batch["label"] = torch.tensor(labels)
        batch["index"] = torch.from_numpy(work.indices.astype(np.int64))
        batch["name"] = names
        if self.mixing:
            batch = self.mixing(batch, batch_stream(self.seed, work.epoch, work.number, self.rank))
        return batch

    def __getitem__(self, work: Work) -> Batch | UserError:
        """`read` for a worker process: a user's mistake is handed over whole, where raising would add a traceback."""
        try:
            return self.read(work)
        except UserError as error:
            return error
