"""An epoch of batches, the same for any number of worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, Dataset

from muntin.data.batches import Batch, Reader, Work
from muntin.data.mixing import Mixing
from muntin.data.order import Order
from muntin.data.source import Source
from muntin.data.transform import Transform
from muntin.errors import RunError, UserError


class Loader:
    """Batches of a source: dictionaries of stacked tensors, with "index" and "name" of the samples.

    batch_size: samples a batch on this process. workers: processes that read ahead; 0 reads in this one.
    rank, world: this process's number among how many. Order, augmentation, masks and mixing are functions of
    (seed, epoch, sample or batch number): the global generators are neither read nor changed. See `Order` for how
    samples are shared among processes.

    Raises `UserError` for sizes that cannot work, and on reading naming the file that is no picture; `RunError` when a
    worker process dies.
    """

    def __init__(
        self,
        source: Source,
        transform: Transform,
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = False,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
        drop_last: bool = False,
        mixing: Mixing | None = None,
    ):
        for name, value, least in (("batch_size", batch_size, 1), ("seed", seed, 0), ("workers", workers, 0)):
            if value < least:
                raise UserError(f"{name} is {value}; it must be at least {least}")
        if not 0 <= rank < world:
            raise UserError(f"rank is {rank}; it must be at least 0 and below world, {world}")
        if mixing and not source.classes:
            raise UserError("mixing and label smoothing need labels, and these pictures have none: switch them off")
        self.source, self.batch_size, self.workers = source, batch_size, workers
        self._order = Order(
            len(source), batch_size, seed=seed, shuffle=shuffle, drop_last=drop_last, rank=rank, world=world
        )
        if (shuffle or drop_last) and not len(self._order):
            raise UserError(
                f"{len(source)} pictures do not fill one batch of {batch_size} on {world} process(es): "
                "lower the batch size or add pictures"
            )
        self._reader = Reader(source, transform, seed=seed, rank=rank, mixing=mixing)
        self._work: list[Work] = []  # what the workers read next; refilled each epoch, so that they can live on
        self._pool = self._start_pool() if workers else None

    def __len__(self) -> int:
        """Batches an epoch on this process."""
        return len(self._order)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, the first `start` of them skipped without being read. One epoch at a time."""
        work = [Work(epoch, number, indices) for number, indices in enumerate(self._order.epoch(epoch))][start:]
        if self._pool is None:
            return map(self._reader.read, work)
        self._work[:] = work
        return self._from_workers(self._pool)

    def _start_pool(self) -> DataLoader:
        return DataLoader(
            cast(Dataset, self._reader),
            sampler=self._work,
            batch_size=None,  # the reader makes whole batches
            collate_fn=_as_it_is,
            num_workers=self.workers,
            persistent_workers=True,
            generator=torch.Generator(),  # else each epoch would draw from the global one
        )

    def _from_workers(self, pool: DataLoader) -> Iterator[Batch]:
        try:
            for batch in pool:
                if isinstance(batch, UserError):
                    try:
                        raise batch
                    finally:
                        del batch  # else frame and error hold each other, and the workers end seconds late
                yield batch
        except RuntimeError as error:
            if str(error).startswith("Caught "):  # an error in a worker's code, with its traceback
                raise
            raise RunError(
                f"a data worker process was lost ({str(error).strip()}); often memory or shared memory ran out: "
                "try fewer workers"
            ) from error


def _as_it_is(batch: Any) -> Any:
    return batch
