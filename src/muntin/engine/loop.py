"""The training loop. It knows no task by name: a task has losses, a loader has batches."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from muntin.engine import checkpoint, parallel, precision
from muntin.engine.batches import Batches, Timed
from muntin.engine.ema import Ema
from muntin.engine.interruption import Interruption
from muntin.engine.log import Log
from muntin.engine.optim import Optim, build_optimizer
from muntin.engine.out_of_memory import is_out_of_memory, memory_report
from muntin.engine.schedule import Schedule
from muntin.engine.settings import Training
from muntin.engine.state import Keeper, State
from muntin.engine.step import Outcome, Step
from muntin.engine.timetable import Timetable
from muntin.errors import RunError, UserError, unknown
from muntin.tasks.task import Best

Evaluate = Callable[[nn.Module], dict[str, float]]


class FitResult(NamedTuple):
    """The result of `fit`."""

    metrics: dict[str, float]
    """Of the last evaluation; empty without one."""
    best: dict[str, Any] | None
    """The val line (`history`) of the best evaluation so far; None without one."""
    history: list[dict[str, Any]]
    """Every line of metrics.jsonl."""
    task: nn.Module
    """The task, trained in place, in eval mode; with the averaged weights where there is an EMA."""


def fit(
    task: nn.Module,
    train: Batches,
    *,
    optim: Optim,
    schedule: Schedule,
    training: Training,
    out: Path,
    evaluate: Evaluate | None = None,
    resume: bool = False,
    recipe: str = "",
    on_save: Callable[[nn.Module, Path], None] | None = None,
) -> FitResult:
    """Train `task` in place, on its device, and keep everything about the run under `out`.

    task: `losses(batch)` (also its forward) gives `Losses`, whose terms are summed and minimised; `layers()` its depth.
    train: batches of `training.micro_batch(world)` samples. An epoch is len(train) // accumulate updates; leftover
    batches are not used.
    evaluate: metrics of a task, the same on every process; called without gradients, in eval mode, under autocast, with
    the averaged weights if there is an EMA. The best by the metric of `task.best` is kept as checkpoints/best.
    resume: continue from the newest undamaged checkpoint in `out`, also in the middle of an epoch. The run is then, bit
    for bit, as without the stop (on the same number of processes).
    recipe: a hash of the recipe; a checkpoint with another hash is not resumed.
    on_save: puts more files, such as the exported model, into the folder of every checkpoint.

    Ctrl-C and SIGTERM end a run after the current update, and an evaluation at once, with a checkpoint and
    KeyboardInterrupt. Raises UserError for what cannot work as given; RunError if loss or gradients are not finite more
    than `training.skip_nonfinite` times, if a checkpoint cannot be written, and if memory runs out.
    """
    run = Run(
        task,
        train,
        evaluate,
        optim=optim,
        schedule=schedule,
        training=training,
        out=out,
        resume=resume,
        recipe=recipe,
        on_save=on_save,
    )
    return run.carry_out()


class Run:
    """A training run: it does the updates and, between them, whatever its timetable says."""

    def __init__(
        self,
        task: nn.Module,
        train: Batches,
        evaluate: Evaluate | None,
        *,
        optim: Optim,
        schedule: Schedule,
        training: Training,
        out: Path,
        resume: bool,
        recipe: str,
        on_save: Callable[[nn.Module, Path], None] | None,
    ):
        self.task, self.train, self.metrics = task, train, evaluate
        self.optim, self.training, self.device = optim, training, next(task.parameters()).device
        for companion in task.companions().values():  # type: ignore[operator]
            companion.to(self.device).eval()
        per_epoch = updates_per_epoch(train, training)
        self.schedule, self.timetable = schedule, Timetable(schedule.length(per_epoch), per_epoch, training)
        parallel.broadcast(task)
        self.ema = Ema(task, training.ema) if training.ema else None
        self.optimizer = build_optimizer(task, optim, training.batch_size)

        self.folder = out / "checkpoints"
        self.keeper = Keeper(
            self.folder, task, self.ema, self.optimizer, keep_last=training.keep_last, recipe=recipe, on_save=on_save
        )
        self.state = self._state(resume)

        self.step = Step(
            task,
            parallel.wrap(task, checkpointing=training.checkpointing, compile=training.compile),
            self.optimizer,
            train,
            optim=optim,
            schedule=schedule.scaled(optim.scale(training.batch_size)),
            training=training,
            updates_per_epoch=per_epoch,
        )
        self.batches, self.interruption = Timed(iter(())), Interruption()
        self.log = Log(
            out,
            main=parallel.rank() == 0,
            epochs=self.timetable.epochs,
            updates=self.timetable.updates,
            samples=training.batch_size,
            device=self.device,
            done=self.state.update,
            evaluated=not self.state.evaluation_due,
        )

    def carry_out(self) -> FitResult:
        with _own_settings(self.training.threads, self.device), self.interruption, self.log:
            self.log.say(self._opening())
            try:
                if self.metrics and self.state.evaluation_due:
                    self.save(best=self.evaluate(self.metrics))
                self.task.train()
                while self.state.update < self.timetable.updates:
                    self.train_epoch()
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                raise RunError(self._out_of_memory()) from error
            finally:
                parallel.unwrap(self.task)
        if self.ema:
            self.task.load_state_dict(self.ema.module.state_dict())
        return FitResult(self.state.metrics, self.state.best, self.log.history, self.task.eval())

    def train_epoch(self) -> None:
        """Do the rest of the current epoch."""
        epoch, done = divmod(self.state.update, self.timetable.updates_per_epoch)
        self.batches = Timed(self.train.epoch(epoch, done * self.training.accumulate))
        last = self.timetable.last_of(epoch + 1)
        while self.state.update < last:
            outcome = self.update()
            best = False
            if self.metrics and self.timetable.evaluates(self.state.update):
                self.state.evaluation_due = outcome.stop  # there is no time left for it
                best = not outcome.stop and self.evaluate(self.metrics)
            if best or outcome.stop or self.timetable.saves(self.state.update):
                self.save(best)
            if outcome.stop:
                raise self._interrupted()

    def update(self) -> Outcome:
        """Do one update, or skip it, and log it."""
        state, training = self.state, self.training
        may_skip = state.skipped < training.skip_nonfinite
        outcome = self.step(state.update, self.batches, lambda: self.interruption.asked, may_skip)
        if self.ema and outcome.finite:
            self.ema.update()
        loss, epoch = state.add(outcome), self.timetable.epoch(state.update)
        if not outcome.finite:
            self.log.say(
                f"step {state.update} skipped: loss {loss:g}, gradient norm {outcome.grad_norm:g} "
                f"({state.skipped} of at most {training.skip_nonfinite})"
            )
        self.log.progress(epoch, state.update, loss, outcome.lr, self.batches.take_seconds())
        if state.summed and self.timetable.logs(state.update):
            ended = self.timetable.ends_epoch(state.update)
            self.log.train(epoch, state.update, state.take_means(), outcome.lr, epoch_ended=ended)
        return outcome

    def evaluate(self, metrics: Evaluate) -> bool:
        """Measure the weights that are kept. Returns whether they are the best so far.

        An interrupted evaluation costs no training: the run is saved before it, and evaluates when it continues.
        """
        state, kept = self.state, self.ema.module if self.ema else self.task
        try:
            numbers = precision.autocast(self.device, self.training.precision)
            with self.log.pause("evaluating"), self.interruption.at_once(), numbers:
                state.metrics = _numbers(metrics, kept)
        except BaseException as stop:
            state.evaluation_due = True
            self.keeper.save(state, wait=False)
            if isinstance(stop, KeyboardInterrupt):
                raise self._interrupted() from None
            raise
        state.evaluation_due = False
        self.log.val(self.timetable.epoch(state.update), state.update, state.metrics)
        self.task.train()
        if not _is_better(self.task.best, state.metrics, state.best):  # type: ignore[arg-type]
            return False
        state.best = self.log.history[-1]
        return True

    def save(self, best: bool) -> None:
        """Write a checkpoint; `best`: it holds the best weights so far."""
        with self.log.pause("saving"):
            self.keeper.save(self.state, best)

    def _state(self, resume: bool) -> State:
        """Load where the run begins or continues."""
        if resume:
            return self.keeper.load(self.timetable.updates_per_epoch)
        if checkpoint.exist(self.folder):
            raise UserError(f"{self.folder} holds checkpoints already; resume that run, or choose another folder")
        return State(updates_per_epoch=self.timetable.updates_per_epoch)

    def _opening(self) -> str:
        """What the run will do, with the learning rate that it really uses."""
        optim, batch_size, world = self.optim, self.training.batch_size, parallel.world()
        rate = f"peak lr {optim.lr * optim.scale(batch_size):.3g}"
        if optim.lr_batch:
            rate += f" = {optim.lr:g} x {batch_size} / {optim.lr_batch}"
        share = f"{batch_size} samples an update"
        if (parts := world * self.training.accumulate) > 1:
            share += f" = {batch_size // parts} x {world} processes x {self.training.accumulate} micro-steps"
        start = f"resuming after step {self.state.update}: " if self.state.update else ""
        table = self.timetable
        length = f"{table.updates} updates in" if self.schedule.updates else f"{table.epochs}"
        length += f" epochs of {table.updates_per_epoch} updates"
        return f"{start}{length} · {share} · {rate}"

    def _interrupted(self) -> KeyboardInterrupt:
        where = f"interrupted after step {self.state.update}, saved in {self.folder}"
        return KeyboardInterrupt(f"{where}: resume from it")

    def _out_of_memory(self) -> str:
        doing, inputs = ("evaluating", "") if self.state.evaluation_due else ("training", self.batches.inputs)
        report = memory_report(self.task, self.optimizer, self.ema, self.training, inputs)
        return f"out of memory on {self.device} while {doing}, after step {self.state.update}: {report}"


@contextlib.contextmanager
def _own_settings(threads: int, device: torch.device) -> Iterator[None]:
    """Use the threads of the run inside; afterwards restore the caller's threads and random numbers."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        torch.set_num_threads(before)


def updates_per_epoch(train: Batches, training: Training) -> int:
    """Optimizer steps in one pass over the samples. Raises UserError where there is none."""
    micro_batch = training.micro_batch(parallel.world())
    updates = len(train) // training.accumulate
    if updates == 0:
        raise UserError(
            f"an epoch has {len(train)} batches of {micro_batch} samples a process, too few for one update of "
            f"{training.accumulate} micro-steps; use a smaller batch_size or more data"
        )
    return updates


def _numbers(metrics: Evaluate, task: nn.Module) -> dict[str, float]:
    # no_grad, not inference_mode: what a module caches here must serve training too.
    with torch.no_grad():
        return {name: float(value) for name, value in metrics(task.eval()).items()}


def _is_better(by: Best, metrics: dict[str, float], best: dict[str, Any] | None) -> bool:
    """Whether `metrics` are better than those of `best`, the val line of the best evaluation before."""
    if by.metric not in metrics:
        raise unknown("metric", by.metric, metrics, see="the task's `best` names one that evaluate gives")
    value = metrics[by.metric]
    if best is None:
        return not math.isnan(value)
    return value > best[by.metric] if by.higher else value < best[by.metric]
