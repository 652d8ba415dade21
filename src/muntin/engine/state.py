"""The state of a run: its parts, and how it is saved and loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from muntin.engine import checkpoint, parallel
from muntin.engine.ema import Ema
from muntin.engine.step import Outcome
from muntin.errors import RunError, UserError


@dataclass
class State:
    """The position of a run, without its tensors; `state.json` holds it."""

    update: int = 0  # updates done, those that were skipped too
    updates_per_epoch: int = 0
    sums: dict[str, float] = field(default_factory=dict)  # of what is logged since the last train line
    summed: int = 0  # updates in them
    skipped: int = 0  # updates of the whole run whose loss or gradients were not finite
    metrics: dict[str, float] = field(default_factory=dict)
    best: dict[str, Any] | None = None  # val line of the best evaluation
    evaluation_due: bool = False  # the epoch is trained, its evaluation was broken off

    def add(self, outcome: Outcome) -> float:
        """Count one update; its total loss."""
        self.update += 1
        total = sum(outcome.losses.values())
        if not outcome.finite:
            self.skipped += 1
            return total
        self.summed += 1
        parts = outcome.losses if len(outcome.losses) > 1 else {}
        for name, value in {**parts, **outcome.shown, "loss": total, "grad_norm": outcome.grad_norm}.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        return total

    def take_means(self) -> dict[str, float]:
        """Means since the last time, and how many updates the run has skipped, if any."""
        means = {name: value / self.summed for name, value in self.sums.items()}
        self.sums, self.summed = {}, 0
        return means | ({"skipped": self.skipped} if self.skipped else {})


class Keeper:
    """Saves and loads everything that a run needs to continue as if it had never stopped.

    recipe: a hash of the recipe. on_save: puts more files into the folder of every checkpoint.
    """

    def __init__(
        self,
        folder: Path,
        task: nn.Module,
        ema: Ema | None,
        optimizer: torch.optim.Optimizer,
        *,
        keep_last: int,
        recipe: str,
        on_save: Callable[[nn.Module, Path], None] | None,
    ):
        self._folder, self._task, self._ema, self._optimizer = folder, task, ema, optimizer
        self._keep_last, self._recipe, self._on_save = keep_last, recipe, on_save

    def save(self, state: State, best: bool = False, wait: bool = True) -> None:
        """Write a checkpoint. wait: for the other processes, unless they may be lost.

        Raises RunError, on every process, if it cannot be written.
        """
        failure = None
        try:
            if parallel.rank() == 0:
                self._write(state, best)
        except RunError as error:
            failure = error
        if wait:  # no process may end, and have the others ended, before the files are there
            parallel.agree(failure, RunError("process 0 could not save; its message says why"))
        elif failure:
            raise failure

    def load(self, updates_per_epoch: int) -> State:
        """Load the newest undamaged checkpoint. Raises UserError if there is none, or if it belongs to another run."""
        if parallel.rank() == 0:
            checkpoint.recover(self._folder)
        parallel.barrier()
        found = checkpoint.latest(self._folder)
        if found is None:
            raise UserError(f"nothing to resume: no undamaged checkpoint in {self._folder}; start without resume")
        if self._recipe != (made_by := checkpoint.read_manifest(found)["recipe"]):
            raise UserError(
                f"{found} was made by another recipe (hash {made_by[:8] or 'none'}, not {self._recipe[:8] or 'none'}); "
                "resume with the recipe of that run, or start a new one"
            )
        state = self._read(found, updates_per_epoch)
        if parallel.rank() == 0 and state.best and state.best["step"] == state.update:
            self._make_up_for_best(found)
        parallel.barrier()
        return state

    def _write(self, state: State, best: bool) -> None:
        parts: dict[str, dict[str, Tensor]] = {
            "model": self._task.state_dict(),
            "ema": self._ema.module.state_dict() if self._ema else {},
            "optimizer": checkpoint.optimizer_tensors(self._optimizer),
        }
        tensors = {f"{part}/{name}": tensor for part in parts for name, tensor in parts[part].items()}
        where, on_save, kept = (
            checkpoint.step_folder(self._folder, state.update),
            self._on_save,
            self._ema.module if self._ema else self._task,
        )
        add = (lambda path: on_save(kept, path)) if on_save else None
        checkpoint.save(where, tensors, asdict(state), step=state.update, recipe=self._recipe, add=add)
        if best:
            checkpoint.mark_best(where)
        checkpoint.keep_last(self._folder, self._keep_last, where)

    def _read(self, found: Path, updates_per_epoch: int) -> State:
        tensors, numbers = checkpoint.load(found)
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "ema": {}, "optimizer": {}}
        for key, tensor in tensors.items():
            part, _, name = key.partition("/")
            parts[part][name] = tensor
        state = State(**numbers)
        if state.updates_per_epoch != updates_per_epoch:
            raise UserError(
                f"{found} was made with {state.updates_per_epoch} updates an epoch and this run has "
                f"{updates_per_epoch}; resume with the same data, batch_size and accumulate"
            )
        if bool(parts["ema"]) != (self._ema is not None):
            how = "with" if parts["ema"] else "without"
            raise UserError(f"{found} was made {how} an EMA; resume with the same `ema`")
        try:
            self._task.load_state_dict(parts["model"])
            if self._ema is not None:
                self._ema.module.load_state_dict(parts["ema"])
        except RuntimeError as error:
            raise UserError(f"{found} holds another model: {' '.join(str(error).split())[:300]}") from None
        checkpoint.load_optimizer(self._optimizer, parts["optimizer"])
        return state

    def _make_up_for_best(self, found: Path) -> None:
        """Mark `found` as the best, if a crash came before this was done."""
        best = self._folder / checkpoint.BEST
        try:
            marked = checkpoint.read_manifest(best)["step"] == checkpoint.read_manifest(found)["step"]
        except UserError:
            marked = False
        if found != best and not marked:
            checkpoint.mark_best(found)
