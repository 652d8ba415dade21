"""One update of the weights: micro-steps, mean over processes, clipping, optimizer."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from muntin.data import Batch
from muntin.engine import non_finite, parallel, precision
from muntin.engine.batches import Batches
from muntin.engine.device import to_device
from muntin.engine.optim import Optim
from muntin.engine.schedule import Schedule
from muntin.engine.settings import Training
from muntin.errors import RunError
from muntin.tasks.task import Losses


class Outcome(NamedTuple):
    """The result of an update."""

    losses: dict[str, float]  # the terms, by the task's names; means over micro-steps and processes
    shown: dict[str, float]  # what the task logs beside them, likewise
    grad_norm: float  # before clipping
    lr: float  # of a layer whose lr_scale is 1
    stop: bool  # some process was asked to stop
    finite: bool = True  # otherwise the update was skipped


class Step:
    """Does update after update. All randomness is a function of (seed, update, micro-step, process).

    `task` is what is trained; `model` is the same in its wrappers (`parallel.wrap`), to be called.
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

    def __call__(
        self, update: int, batches: Iterator[Batch], stop: Callable[[], bool] = lambda: False, may_skip: bool = False
    ) -> Outcome:
        """Do update number `update` (from 0) with the next `accumulate` batches.

        stop: whether this process was asked to stop; every process learns of it in the outcome. If loss or gradient
        norm is not finite, which every process finds alike, weights, buffers and optimizer stay as before. With
        `may_skip` the outcome says so, without it this raises RunError.
        """
        buffers = [(buffer, buffer.clone()) for buffer in self._task.buffers()] if may_skip else []
        for group in self._optimizer.param_groups:
            group["lr"] = self._schedule.lr(update, self._peak, self._updates_per_epoch, group["lr_scale"])
        terms, shown, values = self._gradients(update, batches)
        if self._world > 1:
            # The losses and the wish to stop travel together: one small exchange an update.
            values = torch.cat([values, values.new_full((1,), float(stop()))])
            values = parallel.all_sum(values) / self._world
        norm = get_total_norm([p.grad for p in self._parameters if p.grad is not None], foreach=True)
        # The one wait for the device in an update; before the weights change, so that bad gradients never reach them.
        # Losses are means over processes and gradients too, so every process reads the same numbers and does the same.
        *means, grad_norm = torch.cat([values, norm.reshape(1)]).tolist()
        losses, others = dict(zip(terms, means)), dict(zip(shown, means[len(terms) :]))
        loss = sum(losses.values())
        finite = math.isfinite(loss + grad_norm)
        if not finite and not may_skip:
            raise RunError(self._why(update, math.isfinite(loss), grad_norm))
        if finite:
            if 0 < self._clip < grad_norm:
                clip_grads_with_norm_(self._parameters, self._clip, norm, foreach=True)
            self._optimizer.step()
        else:
            for buffer, before in buffers:
                buffer.copy_(before)
        self._optimizer.zero_grad()
        lr = self._schedule.lr(update, self._peak, self._updates_per_epoch)
        asked = means[-1] > 0 if self._world > 1 else stop()
        return Outcome(losses, others, grad_norm, lr, asked, finite)

    def _gradients(self, update: int, batches: Iterator[Batch]) -> tuple[list[str], list[str], Tensor]:
        """Compute the gradients of the update.

        Returns the names of this process's losses and of the values that are only shown, and the means of all of them.
        """
        values: list[Tensor] = []
        for micro in range(self._accumulate):
            batch = next(batches)
            with self._exchange(micro == self._accumulate - 1):
                losses = self._forward(self._model, update, micro, batch)
                total = sum(losses.terms.values())
                (total / self._accumulate if self._accumulate > 1 else total).backward()  # type: ignore[union-attr]
            logged = [*losses.terms.values(), *losses.shown.values()]
            values.append(torch.stack([value.detach().float() for value in logged]))
        means = values[0] if len(values) == 1 else torch.stack(values).mean(0)
        return list(losses.terms), list(losses.shown), means

    def _forward(self, model: nn.Module, update: int, micro: int, batch: Batch) -> Losses:
        """The losses of one micro-step; the same again whenever it is called with the same weights."""
        batch = to_device(batch, self._device)
        _seed(self._device, self._seed, update, micro, self._rank)
        with self._autocast:
            return model(batch)

    def _exchange(self, last: bool) -> AbstractContextManager[None]:
        """Let processes exchange gradients once an update, in its last micro-step."""
        return nullcontext() if last or not isinstance(self._model, DistributedDataParallel) else self._model.no_sync()

    def _why(self, update: int, loss_is_finite: bool, grad_norm: float) -> str:
        """Why update `update` cannot be made, in words. All processes come here or none, because they read equal
        numbers.
        """
        epoch, done = divmod(update, self._updates_per_epoch)
        where = f"stopped at step {update + 1} (epoch {epoch + 1}): "
        again = itertools.islice(self._train.epoch(epoch, done * self._accumulate), self._accumulate)
        if loss_is_finite:
            names = "; ".join(non_finite.files(batch) for batch in again)  # any of the update's micro-batches
            return where + f"{non_finite.gradient_report(self._task, grad_norm)}; {names}"
        parallel.unwrap(self._task)  # compiled layers would not show their outputs
        found = non_finite.loss_report(self._task, again, lambda m, batch: self._forward(self._task, update, m, batch))
        guilty = torch.zeros(self._world, device=self._device)
        guilty[self._rank] = bool(found)
        others = [str(number) for number, bad in enumerate(parallel.all_sum(guilty).tolist()) if bad]
        if not found and others:
            found = f"loss is not finite on process {', '.join(others)}, whose message says more"
        return where + (found or "loss was not finite, yet it is when the same batch is computed again")


def _seed(device: torch.device, *numbers: int) -> None:
    """Start torch's random numbers on `device` from a value mixed from `numbers`."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    value = int.from_bytes(digest, "little") >> 1
    torch.default_generator.manual_seed(value)  # torch.manual_seed visits every backend: 0.1 ms
    if device.type == "cuda":
        torch.cuda.manual_seed(value)
