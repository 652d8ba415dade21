"""One update of the weights: micro-steps, mean over processes, clipping, AdamW."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from muntin.engine import non_finite, parallel, precision
from muntin.engine.optim import Optim
from muntin.engine.schedule import Schedule
from muntin.engine.training import Training
from muntin.errors import RunError

Batch = dict[str, Any]


class Batches(Protocol):
    """What the engine asks of a data loader. The same arguments give the same batches, however often."""

    def __len__(self) -> int:
        """Batches an epoch, on this process."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of epoch `epoch` (from 0), without the first `start`."""


class Outcome(NamedTuple):
    """What an update found."""

    losses: dict[str, float]  # by the task's names; means over micro-steps and processes
    grad_norm: float  # before clipping
    lr: float  # of a layer whose lr_scale is 1
    stop: bool  # some process was asked to stop


class Step:
    """Does update after update; everything random in it is a function of (seed, update, micro-step, process).

    `task` is what is trained, `model` the same in its wrappers (`parallel.wrap`), to be called.
    """

    def __init__(
        self,
        task: nn.Module,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        train: Batches,
        *,
        optim: Optim,
        schedule: Schedule,
        training: Training,
        updates_per_epoch: int,
    ):
        self._task, self._model, self._optimizer, self._train = task, model, optimizer, train
        self._schedule, self._updates_per_epoch, self._clip = schedule, updates_per_epoch, optim.clip_grad
        self._peak = optim.lr * optim.scale(training.batch_size)
        self._seed, self._accumulate = training.seed, training.accumulate
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._device = self._parameters[0].device
        self._autocast = precision.autocast(self._device, training.precision)
        self._rank, self._world = parallel.rank(), parallel.world()

    def __call__(self, update: int, batches: Iterator[Batch], stop: bool = False) -> Outcome:
        """Update number `update` (from 0) from the next `accumulate` batches.

        stop: this process was asked to stop; every process learns of it in the outcome.
        Raises RunError, on every process, when loss or gradient norm is not finite; the weights are then as before.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = self._schedule.lr(update, self._peak * group["lr_scale"], self._updates_per_epoch)
        names, values = self._gradients(update, batches)
        if self._world > 1:
            # The losses and the wish to stop travel together: one small exchange an update.
            values = parallel.all_sum(torch.cat([values, values.new_full((1,), float(stop))])) / self._world
            values, stop_share = values[:-1], values[-1:]
        else:
            stop_share = values.new_zeros(0)
        norm = get_total_norm([p.grad for p in self._parameters if p.grad is not None], foreach=True)
        # The only wait for the device in an update. Reading here keeps bad gradients out of the weights.
        *losses, grad_norm = torch.cat([values, norm.reshape(1), stop_share]).tolist()[: len(names) + 1]
        return Outcome({}, 0.0, 0.0, stop)
