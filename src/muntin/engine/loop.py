"""The training loop. It knows no task by name: a task has losses, a loader has batches."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from muntin.engine import checkpoint, parallel, precision
from muntin.engine.ema import Ema
from muntin.engine.interruption import Interruption
from muntin.engine.log import Log
from muntin.engine.optim import Optim, build_optimizer
from muntin.engine.schedule import Schedule
from muntin.engine.step import Batch, Batches, Outcome, Step
from muntin.engine.training import Training
from muntin.errors import UserError, unknown

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


@dataclass
class _State:
    """Where a run is, apart from its tensors; `state.json` holds it."""

    update: int = 0  # updates done
    updates_per_epoch: int = 0
    sums: dict[str, float] = field(default_factory=dict)  # of losses and gradient norm since the last train line
    summed: int = 0  # updates in them
    metrics: dict[str, float] = field(default_factory=dict)
    best: dict[str, Any] | None = None
    evaluation_due: bool = False  # the epoch is trained, its evaluation failed

    def add(self, outcome: Outcome) -> float:
        """Count one update; its total loss."""
        self.update += 1
        self.summed += 1
        total = sum(outcome.losses.values())
        parts = outcome.losses if len(outcome.losses) > 1 else {}
        for name, value in {**parts, "loss": total, "grad_norm": outcome.grad_norm}.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        return total

    def take_means(self) -> dict[str, float]:
        means = {name: value / self.summed for name, value in self.sums.items()}
        self.sums, self.summed = {}, 0
        return means


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
    on_save: puts more files, such as the exported model, into the folder of every checkpoint.

    Ctrl-C and SIGTERM end a run after the current update with a checkpoint and KeyboardInterrupt.
    Raises UserError for what cannot work as given, RunError when loss or gradients are no longer finite.
    """
    updates_per_epoch = _updates_per_epoch(train, training)
    scale, device = optim.scale(training.batch_size), next(task.parameters()).device
    schedule = schedule.scaled(scale)
    folder = out / "checkpoints"
    parallel.broadcast(task)
    ema = Ema(task, training.ema) if training.ema else None
    optimizer = build_optimizer(task, optim, training.batch_size)
    if resume:
        state = _load(folder, task, ema, optimizer, updates_per_epoch)
    elif checkpoint.exist(folder):
        raise UserError(f"{folder} holds checkpoints already; resume that run, or choose another folder")
    else:
        state = _State(updates_per_epoch=updates_per_epoch)

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
    )
    with _own_settings(training.threads, device), Interruption() as interruption, log:
        log.say(_opening(optim, training, scale, updates_per_epoch, schedule.epochs, state.update))

        def evaluate_epoch(epoch: int) -> bool:
            """Whether it is the best so far. An evaluation that fails costs no training: the epoch is saved before."""
            assert evaluate
            try:
                with log.pause("evaluating"):
                    state.metrics = _evaluated(evaluate, kept, device, training)
            except Exception:
                state.evaluation_due = True
                _save(folder, task, ema, optimizer, state, training.keep_last, False, on_save, wait=False)
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
                improved = evaluate_epoch(state.update // updates_per_epoch - 1)
                with log.pause("saving"):
                    _save(folder, task, ema, optimizer, state, training.keep_last, improved, on_save)
            task.train()
            while state.update < updates:
                epoch, done = divmod(state.update, updates_per_epoch)
                batches = _Timed(train.epoch(epoch, done * training.accumulate))
                for number in range(done + 1, updates_per_epoch + 1):
                    outcome = step(state.update, batches, interruption.asked)
                    if ema:
                        ema.update()
                    loss, ended, improved = state.add(outcome), number == updates_per_epoch, False
                    log.progress(epoch + 1, state.update, loss, outcome.lr, batches.take_seconds())
                    if ended or (training.log_every and state.update % training.log_every == 0):
                        log.train(epoch + 1, state.update, state.take_means(), outcome.lr, epoch_ended=ended)
                    if evaluate and ended and _due(epoch, training.eval_every, schedule.epochs):
                        improved = evaluate_epoch(epoch)
                    if outcome.stop or improved or (ended and _due(epoch, training.save_every, schedule.epochs)):
                        with log.pause("saving"):
                            _save(folder, task, ema, optimizer, state, training.keep_last, improved, on_save)
                    if outcome.stop:
                        raise KeyboardInterrupt(
                            f"interrupted after step {state.update}, saved in {folder}: resume from it"
                        )
        finally:
            parallel.unwrap(task)
    if ema:
        task.load_state_dict(ema.module.state_dict())
    return FitResult(state.metrics, state.best, log.history, task.eval())


class _Timed(Iterator[Batch]):
    """Batches, with the time that was spent waiting for them."""

    def __init__(self, batches: Iterator[Batch]):
        self._batches, self._seconds = batches, 0.0

    def __next__(self) -> Batch:
        start = time.perf_counter()
        batch = next(self._batches)
        self._seconds += time.perf_counter() - start
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


def _evaluated(evaluate: Evaluate, task: nn.Module, device: torch.device, training: Training) -> dict[str, float]:
    task.eval()
    # no_grad, not inference_mode: what a module caches here must serve training too.
    with torch.no_grad(), precision.autocast(device, training.precision):
        return {name: float(value) for name, value in evaluate(task).items()}


def _better(state: _State, best_by: str, higher_is_better: bool) -> bool:
    if best_by not in state.metrics:
        raise unknown("metric", best_by, state.metrics, see="best_by names one that evaluate gives")
    value = state.metrics[best_by]
    if state.best is None:
        return not math.isnan(value)
    return value > state.best[best_by] if higher_is_better else value < state.best[best_by]


def _save(
    folder: Path,
    task: nn.Module,
    ema: Ema | None,
    optimizer: torch.optim.Optimizer,
    state: _State,
    keep_last: int,
    best: bool,
    on_save: Callable[[nn.Module, Path], None] | None,
    wait: bool = True,
) -> None:
    """Write a checkpoint. `wait` for the other processes, unless they may be lost."""
    if parallel.rank() == 0:
        parts: dict[str, dict[str, Tensor]] = {
            "model": task.state_dict(),
            "ema": ema.module.state_dict() if ema else {},
            "optimizer": checkpoint.optimizer_tensors(optimizer),
        }
        tensors = {f"{part}/{name}": tensor for part in parts for name, tensor in parts[part].items()}
        where = checkpoint.step_folder(folder, state.update)
        add = (lambda path: on_save(ema.module if ema else task, path)) if on_save else None
        checkpoint.save(where, tensors, asdict(state), add)
        if best:
            checkpoint.mark_best(where)
        checkpoint.keep_last(folder, keep_last, where)
    if wait:
        parallel.barrier()  # no process may end, and have the others ended, before the files are there


def _load(
    folder: Path, task: nn.Module, ema: Ema | None, optimizer: torch.optim.Optimizer, updates_per_epoch: int
) -> _State:
    found = checkpoint.latest(folder)
    if found is None:
        raise UserError(f"nothing to resume: no undamaged checkpoint in {folder}; start without resume")
    tensors, numbers = checkpoint.load(found)
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "ema": {}, "optimizer": {}}
    for key, tensor in tensors.items():
        part, _, name = key.partition("/")
        parts[part][name] = tensor
    state = _State(**numbers)
    if state.updates_per_epoch != updates_per_epoch:
        raise UserError(
            f"{found} was made with {state.updates_per_epoch} updates an epoch and this run has {updates_per_epoch}; "
            f"resume with the same data, batch_size and accumulate"
        )
    if bool(parts["ema"]) != (ema is not None):
        raise UserError(f"{found} was made {'with' if parts['ema'] else 'without'} an EMA; resume with the same `ema`")
    try:
        task.load_state_dict(parts["model"])
        if ema is not None:
            ema.module.load_state_dict(parts["ema"])
    except RuntimeError as error:
        raise UserError(f"{found} holds another model: {' '.join(str(error).split())[:300]}") from None
    checkpoint.load_optimizer(optimizer, parts["optimizer"])
    return state
