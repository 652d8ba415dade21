"""An epoch of batches, the same for any number of worker processes."""

from __future__ import annotations

import atexit
import contextlib
import functools
import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, Dataset

from muntin.data.loading.bad_files import BadFiles
from muntin.data.loading.batch import Batch, Collate, Prepare, stack, unprepared
from muntin.data.loading.mixing import Mixing
from muntin.data.loading.order import BLOCK, Order
from muntin.data.loading.reader import Read, Reader, Work
from muntin.data.sources.source import Source
from muntin.data.transforms.transform import Transform
from muntin.errors import RunError, UserError


class Loader:
    """Batches of a source.

    prepare, collate: what a task does to a sample after the transform, and how samples become a batch.
    training: told to `prepare`. batch_size: samples a batch on this process.
    workers: processes that read ahead; 0 reads in this one.
    rank, world: this process's number among how many. Order, augmentation, masks and mixing are functions of
    (seed, epoch, sample or batch number): the global generators are neither read nor changed. See `Order` for how
    samples are shared among processes.
    repeats: repeated augmentation; how often each sample comes in a row, every time with changes of its own.
    bad_share: 0 stops at the first picture that cannot be read. Above 0, such a picture is counted in `bad`, listed in
    the file `bad_list` if there is one, and replaced by another, drawn by (seed, epoch, index); without shuffling it is
    left out. When they are more than this share of the source, the loader stops with `UserError`.

    Raises `UserError` for sizes that cannot work, and on reading for a picture, or too many, that cannot be read;
    `RunError` when a worker process dies or a store does not answer.
    """

    def __init__(
        self,
        source: Source,
        transform: Transform,
        *,
        batch_size: int,
        prepare: Prepare = unprepared,
        collate: Collate = stack,
        training: bool = False,
        seed: int = 0,
        shuffle: bool = False,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
        drop_last: bool = False,
        mixing: Mixing | None = None,
        repeats: int = 1,
        bad_share: float = 0.0,
        bad_list: Path | None = None,
    ):
        counts = {"batch_size": (batch_size, 1), "seed": (seed, 0), "workers": (workers, 0), "repeats": (repeats, 1)}
        for name, (value, least) in counts.items():
            if value < least:
                raise UserError(f"{name} is {value}; it must be at least {least}")
        if not 0 <= rank < world:
            raise UserError(f"rank is {rank}; it must be at least 0 and below world, {world}")
        if not 0 <= bad_share < 1:
            raise UserError(f"bad_share is {bad_share}; it must be at least 0 and below 1")
        if mixing and not source.classes:
            raise UserError("mixing and label smoothing need labels, and these pictures have none: switch them off")
        self.source, self.batch_size, self.workers = source, batch_size, workers
        self._order = Order(
            len(source),
            batch_size,
            seed=seed,
            shuffle=shuffle,
            drop_last=drop_last,
            rank=rank,
            world=world,
            shards=source.shards() if shuffle else None,
            repeats=repeats,
        )
        if repeats > 1 and len(source) < BLOCK:
            raise UserError(
                f"repeated augmentation ({repeats} repeats) takes whole blocks of {BLOCK} pictures, and here are "
                f"{len(source)}: add pictures, or set repeats to 1"
            )
        if (shuffle or drop_last) and not len(self._order):
            raise UserError(
                f"{self._order.views} pictures do not fill one batch of {batch_size} on {world} process(es): "
                "lower the batch size or add pictures"
            )
        self.bad = BadFiles(len(source), bad_share)
        if bad_list:
            self.bad.list_in(bad_list)
        self._reader = Reader(
            source,
            transform,
            prepare=prepare,
            collate=collate,
            training=training,
            seed=seed,
            rank=rank,
            mixing=mixing,
            on_bad="raise" if not bad_share else "replace" if shuffle else "leave out",
        )
        self._work: list[Work] = []  # what the workers read next; refilled each epoch, so that they can live on
        self._pool = self._start_pool() if workers else None

    def __len__(self) -> int:
        """Batches an epoch on this process."""
        return len(self._order)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, the first `start` of them skipped without being read. One epoch at a time."""
        work = [Work(epoch, number, views) for number, views in enumerate(self._order.epoch(epoch))][start:]
        if self._pool is None:
            reads: Iterator[Read] = map(self._reader.read, work)
        else:
            self._work[:] = work
            reads = self._from_workers(self._pool)
        for batch, bad in reads:
            for each in bad:
                self.bad.add(*each)
            if batch:
                yield batch

    def _start_pool(self) -> DataLoader:
        return DataLoader(
            cast(Dataset, self._reader),
            sampler=self._work,
            batch_size=None,  # the reader makes whole batches
            collate_fn=_as_it_is,
            num_workers=self.workers,
            persistent_workers=True,
            worker_init_fn=functools.partial(_outlive_signals, _ending()),
            generator=torch.Generator(),  # else each epoch would draw from the global one
        )

    def __del__(self) -> None:
        """End the workers as torch does, but without its traceback if one was lost."""
        iterator = getattr(getattr(self, "_pool", None), "_iterator", None)
        if iterator is not None:
            with contextlib.suppress(RuntimeError):
                iterator._shutdown_workers()

    def _from_workers(self, pool: DataLoader) -> Iterator[Read]:
        reads = iter(pool)
        while True:
            try:
                with lost_worker_said():
                    read = next(reads, None)
            except (EOFError, OSError) as error:  # of the pipe to a worker
                raise _lost_worker(error) from error
            if read is None:
                return
            if isinstance(read, UserError | RunError):
                try:
                    raise read
                finally:
                    del read  # else frame and error hold each other, and the workers end seconds late
            yield read


@contextlib.contextmanager
def lost_worker_said() -> Iterator[None]:
    """Raise `RunError` if torch reports that a worker process was lost.

    torch interrupts the main process for this at any moment. The loader uses it while it waits for a batch; a training
    loop should use it around all of its work.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise _lost_worker(error) from error


def _lost_worker(error: Exception) -> RunError:
    return RunError(
        f"a data worker process was lost ({str(error).strip() or type(error).__name__}); often memory or shared memory "
        "ran out: try fewer workers"
    )


@functools.cache
def _ending() -> Event:
    """An event that is set when this process begins to end, before Python ends its worker processes by SIGTERM."""
    event = multiprocessing.Event()
    atexit.register(event.set)
    return event


def _outlive_signals(ending: Event, worker: int) -> None:
    """Ignore Ctrl-C and SIGTERM in a worker: they often go to every process, and the run needs its workers until it
    has saved.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0) if ending.is_set() else None)


def _as_it_is(batch: Any) -> Any:
    return batch
