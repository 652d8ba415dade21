"""What the engine needs from a data loader, and how long it waits for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Protocol

from torch import Tensor

from muntin.data import Batch


class Batches(Protocol):
    """What the engine needs from a data loader. The same arguments give the same batches every time."""

    def __len__(self) -> int:
        """Batches an epoch, on this process."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of epoch `epoch` (from 0), without the first `start`."""


class Timed(Iterator[Batch]):
    """Batches, with the seconds that were spent waiting for them, and the inputs of the last one, in words."""

    def __init__(self, batches: Iterator[Batch]):
        self._batches, self._seconds = batches, 0.0
        self.inputs = "a batch"

    def __next__(self) -> Batch:
        start = time.perf_counter()
        batch = next(self._batches)
        self._seconds += time.perf_counter() - start
        self.inputs = shapes(batch.inputs)
        return batch

    def take_seconds(self) -> float:
        """The seconds since this was last asked."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds


def shapes(inputs: dict[str, Any]) -> str:
    """The tensors among the inputs of a batch, in words: "image 64 x 3 x 224 x 224, mask 64 x 7 x 7"."""
    tensors = {name: value for name, value in inputs.items() if isinstance(value, Tensor)}
    return ", ".join(f"{name} {' x '.join(map(str, tensor.shape))}" for name, tensor in tensors.items())
