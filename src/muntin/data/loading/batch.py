"""What a batch is, and how samples become one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from muntin.data.sources.place import Place
from muntin.data.sources.source import Sample


class Batch(NamedTuple):
    """Samples side by side. Source, transforms and task agree on the keys; nobody else knows them."""

    inputs: dict[str, Any]  # "image" (B, C, H, W); whatever a task's `prepare` adds
    target: dict[str, Any]  # "label" (B,); "soft" (B, K) after mixing; {} without labels
    names: Sequence[str] = ()  # for error messages
    indices: Tensor = torch.empty(0, dtype=torch.int64)  # (B,), numbers of the samples in their source
    places: Sequence[Place] = ()

    def first(self) -> Batch:
        """The first sample, as a batch of one."""
        inputs, target = ({name: values[:1] for name, values in part.items()} for part in (self.inputs, self.target))
        return Batch(inputs, target, self.names[:1], self.indices[:1], self.places[:1])


Collate = Callable[[Sequence[Sample], Sequence[int]], Batch]
"""Makes a batch of samples and their numbers in the source."""

Prepare = Callable[[Sample, np.random.Generator, bool], Sample]
"""What a task does to a sample after the transforms, such as drawing a mask. The last argument: whether it is trained
on. Travels to worker processes, so it is a small object that can be pickled."""


def stack(samples: Sequence[Sample], indices: Sequence[int]) -> Batch:
    """Stack tensors of one shape, make a tensor of numbers, and a list of everything else."""
    return Batch(
        inputs=_columns([sample.inputs for sample in samples]),
        target=_columns([sample.target for sample in samples]),
        names=[sample.name for sample in samples],
        indices=torch.tensor(indices),
        places=[sample.place for sample in samples],
    )


def unprepared(sample: Sample, rng: np.random.Generator, training: bool) -> Sample:
    """The `Prepare` of tasks that prepare nothing."""
    return sample


def _columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: _column([row[name] for row in rows]) for name in rows[0]}


def _column(values: list[Any]) -> Any:
    if all(isinstance(value, Tensor) for value in values):
        return torch.stack(values)
    return torch.tensor(values) if all(isinstance(value, int | float) for value in values) else values
