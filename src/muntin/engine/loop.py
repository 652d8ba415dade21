"""The training loop. It knows no task by name: a task has losses, a loader has batches."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from muntin.engine import checkpoint, parallel, precision
from muntin.engine.ema import Ema
from muntin.engine.interruption import Interruption
from muntin.engine.log import Log
from muntin.engine.optim import Optim, build_optimizer
from muntin.engine.out_of_memory import is_out_of_memory, memory_report
from muntin.engine.schedule import Schedule
from muntin.engine.settings import Training
from muntin.engine.state import Keeper, State
from muntin.engine.step import Batch, Batches, Step
from muntin.errors import RunError, UserError, unknown

Evaluate = Callable[[nn.Module], dict[str, float]]


class FitResult(NamedTuple):
    """What came out of `fit`."""

    metrics: dict[str, float]
    """Of the last evaluation; empty without one."""
    best: dict[str, Any] | None
    """The val line (`history`) of the best evaluation so far; None without `best_by`."""
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
    best_by: str = "",
    higher_is_better: bool = True,
    resume: bool = False,
    recipe: str = "",
    on_save: Callable[[nn.Module, Path], None] | None = None,
) -> FitResult:
    """Train `task` in place, on the device it is on, and keep everything about it under `out`.

    task: `losses(batch)` (also its forward) gives {name: scalar}, whose sum is minimised; `layers()` its depth.
    train: batches of `training.micro_batch(world)` images. An epoch is len(train) // accumulate updates; batches left
        over are not used.
    evaluate: metrics of a task, the same on every process; called without gradients, in eval mode, under autocast, with
        the averaged weights where there is an EMA.
    best_by: the metric whose best evaluation is kept as checkpoints/best; empty: none is.
    resume: go on from the newest undamaged checkpoint in `out`, in the middle of an epoch if it was taken there. The
        run is then, bit for bit, what it would have been without the stop (on the same number of processes).
    recipe: a hash of what is run; a checkpoint of another is not resumed.
    on_save: puts more files, such as the exported model, into the folder of every checkpoint.

    Ctrl-C and SIGTERM end a run after the current update, and an evaluation at once, with a checkpoint and
    KeyboardInterrupt. Raises UserError for what cannot work as given, RunError when loss or gradients are not finite
    more than `training.skip_nonfinite` times, when a checkpoint cannot be written, and when memory runs out.
    """
    updates_per_epoch = _updates_per_epoch(train, training)
    scale, device = optim.scale(training.batch_size), next(task.parameters()).device
    schedule = schedule.scaled(scale)
    folder = out / "checkpoints"
    parallel.broadcast(task)
    ema = Ema(task, training.ema) if training.ema else None
    optimizer = build_optimizer(task, optim, training.batch_size)
    keeper = Keeper(folder, task, ema, optimizer, keep_last=training.keep_last, recipe=recipe, on_save=on_save)
    if resume:
        state = keeper.load(updates_per_epoch)
    elif checkpoint.exist(folder):
        raise UserError(f"{folder} holds checkpoints already; resume that run, or choose another folder")
    else:
        state = State(updates_per_epoch=updates_per_epoch)

    model = parallel.wrap(task, checkpointing=training.checkpointing, compile=training.compile)
    step = Step(
        task,
        model,
        optimizer,
        train,
        optim=optim,
        schedule=schedule,
        training=training,
        updates_per_epoch=updates_per_epoch,
    )
    kept = ema.module if ema else task  # what is evaluated and exported
    updates = schedule.epochs * updates_per_epoch
    log = Log(
        out,
        main=parallel.rank() == 0,
        epochs=schedule.epochs,
        updates=updates,
        images=training.batch_size,
        device=device,
        done=state.update,
        evaluated=not state.evaluation_due,
    )
    batches = _Timed(iter(()))
    with _own_settings(training.threads, device), Interruption() as interruption, log:
        log.say(_opening(optim, training, scale, updates_per_epoch, schedule.epochs, state.update))

        def save(best: bool = False) -> None:
            with log.pause("saving"):
                keeper.save(state, best)

        def evaluate_epoch(epoch: int) -> bool:
            """Whether it is the best so far. One that is broken off costs no training: the epoch is saved before."""
            assert evaluate
            try:
                with log.pause("evaluating"), interruption.at_once():
                    state.metrics = _evaluated(evaluate, kept, device, training)
            except BaseException as stop:
                state.evaluation_due = True
                keeper.save(state, wait=False)
                if isinstance(stop, KeyboardInterrupt):
                    raise _interrupted(state, folder) from None
                raise
            state.evaluation_due = False
            log.val(epoch + 1, state.update, state.metrics)
            task.train()
            if best_by and _better(state, best_by, higher_is_better):
                state.best = log.history[-1]
                return True
            return False

        try:
            if state.evaluation_due and evaluate:
                save(best=evaluate_epoch(state.update // updates_per_epoch - 1))
            task.train()
            while state.update < updates:
                epoch, done = divmod(state.update, updates_per_epoch)
                batches = _Timed(train.epoch(epoch, done * training.accumulate))
                for number in range(done + 1, updates_per_epoch + 1):
                    may_skip = state.skipped < training.skip_nonfinite
                    outcome = step(state.update, batches, lambda: interruption.asked, may_skip)
                    if ema and outcome.finite:
                        ema.update()
                    loss, ended, improved = state.add(outcome), number == updates_per_epoch, False
                    if not outcome.finite:
                        log.say(_skipped(state, loss, outcome.grad_norm, training))
                    log.progress(epoch + 1, state.update, loss, outcome.lr, batches.take_seconds())
                    if state.summed and (ended or _every(training.log_every, state.update)):
                        log.train(epoch + 1, state.update, state.take_means(), outcome.lr, epoch_ended=ended)
                    if evaluate and ended and _due(epoch, training.eval_every, schedule.epochs):
                        state.evaluation_due = outcome.stop  # there is no time left for it
                        improved = not outcome.stop and evaluate_epoch(epoch)
                    saves = ended and _due(epoch, training.save_every, schedule.epochs)
                    if saves or outcome.stop or improved or _every(training.save_steps, state.update):
                        save(best=improved)
                    if outcome.stop:
                        raise _interrupted(state, folder)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            doing, shape = ("evaluating", ()) if state.evaluation_due else ("training", batches.shape)
            report = memory_report(task, optimizer, ema, training, shape)
            raise RunError(f"out of memory on {device} while {doing}, after step {state.update}: {report}") from error
        finally:
            parallel.unwrap(task)
    if ema:
        task.load_state_dict(ema.module.state_dict())
    return FitResult(state.metrics, state.best, log.history, task.eval())


class _Timed(Iterator[Batch]):
    """Batches, with the time that was spent waiting for them, and the shape of the last one's pictures."""

    def __init__(self, batches: Iterator[Batch]):
        self._batches, self._seconds = batches, 0.0
        self.shape: tuple[int, ...] = ()

    def __next__(self) -> Batch:
        start = time.perf_counter()
        batch = next(self._batches)
        self._seconds += time.perf_counter() - start
        self.shape = tuple(batch["image"].shape) if "image" in batch else ()
        return batch

    def take_seconds(self) -> float:
        seconds, self._seconds = self._seconds, 0.0
        return seconds


@contextlib.contextmanager
def _own_settings(threads: int, device: torch.device) -> Iterator[None]:
    """Threads as wanted; afterwards the caller has its threads and its random numbers back."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        torch.set_num_threads(before)


def _updates_per_epoch(train: Batches, training: Training) -> int:
    training.micro_batch(parallel.world())
    updates = len(train) // training.accumulate
    if updates == 0:
        raise UserError(
            f"an epoch has {len(train)} batches of {training.micro_batch(parallel.world())} images a process, "
            f"too few for one update of {training.accumulate} micro-steps; use a smaller batch_size or more data"
        )
    return updates


def _opening(optim: Optim, training: Training, scale: float, updates_per_epoch: int, epochs: int, done: int) -> str:
    """What the run is about to do, with the learning rate it really uses."""
    rate = f"peak lr {optim.lr * scale:.3g}"
    if optim.lr_batch:
        rate += f" = {optim.lr:g} x {training.batch_size} / {optim.lr_batch}"
    share = f"{training.batch_size} images an update"
    if (parts := parallel.world() * training.accumulate) > 1:
        share += f" = {training.batch_size // parts} x {parallel.world()} processes x {training.accumulate} micro-steps"
    start = f"resuming after step {done}: " if done else ""
    return f"{start}{epochs} epochs of {updates_per_epoch} updates · {share} · {rate}"


def _due(epoch: int, every: int, epochs: int) -> bool:
    """Whether what happens every `every` epochs (0: only at the end) happens after epoch `epoch` (from 0)."""
    return epoch + 1 == epochs or (every > 0 and (epoch + 1) % every == 0)


def _every(count: int, update: int) -> bool:
    """Whether what happens every `count` updates (0: never) happens after `update` of them."""
    return count > 0 and update % count == 0


def _skipped(state: State, loss: float, grad_norm: float, training: Training) -> str:
    return (
        f"step {state.update} skipped: loss {loss:g}, gradient norm {grad_norm:g} "
        f"({state.skipped} of at most {training.skip_nonfinite})"
    )


def _interrupted(state: State, folder: Path) -> KeyboardInterrupt:
    return KeyboardInterrupt(f"interrupted after step {state.update}, saved in {folder}: resume from it")


def _evaluated(evaluate: Evaluate, task: nn.Module, device: torch.device, training: Training) -> dict[str, float]:
    task.eval()
    # no_grad, not inference_mode: what a module caches here must serve training too.
    with torch.no_grad(), precision.autocast(device, training.precision):
        return {name: float(value) for name, value in evaluate(task).items()}


def _better(state: State, best_by: str, higher_is_better: bool) -> bool:
    if best_by not in state.metrics:
        raise unknown("metric", best_by, state.metrics, see="best_by names one that evaluate gives")
    value = state.metrics[best_by]
    if state.best is None:
        return not math.isnan(value)
    return value > state.best[best_by] if higher_is_better else value < state.best[best_by]
