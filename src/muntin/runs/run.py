"""Runs a recipe: builds its parts, trains, and leaves a run folder.

recipe.json · environment.json · data.json · metrics.jsonl · tensorboard/ · checkpoints/ · model/ · summary.json ·
report.html
"""

from __future__ import annotations

import contextlib
import io
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from muntin.data.loading.loader import lost_worker_said
from muntin.engine import FitResult, fit, parallel, parameter_groups
from muntin.engine.disk_errors import writing
from muntin.engine.interruption import terminable
from muntin.engine.loop import updates_per_epoch
from muntin.errors import RunError, UserError
from muntin.ops.fast import choice
from muntin.recipes import Recipe, hash_of_run, read_recipe, recipe_hash

from .build import Parts, build
from .folder import (
    check_folder,
    check_place,
    check_same,
    check_same_data,
    new_run,
    read_choice,
    save_task,
    settle,
    write_data,
    write_json,
)
from .lock import locked
from .measure import measure
from .probe import probe
from .report import write_report
from .resolve import resolve, resolve_again, with_settings


def run(
    recipe: Recipe, out: str | Path, *, resume: bool = False, overwrite: bool = False, quiet: bool = False
) -> dict[str, Any]:
    """Train by a recipe into the folder `out`. Returns the summary, as in its summary.json.

    resume: continue from the newest checkpoint in `out`; the recipe must be the one saved there, except for fields that
    change no number. overwrite: replace the run that is there. quiet: print nothing. Under torchrun every process calls
    it and gets the summary; process 0 writes.

    Raises UserError for what cannot work; `out` is then as before, or does not exist.
    """
    with silence(quiet), threads(recipe.training.threads):
        finished = carry_out(recipe, Path(out), resume=resume, overwrite=overwrite)
        if parallel.rank() == 0:
            print(_closing(finished, Path(out)))
    return finished.summary


def check(recipe: Recipe) -> Recipe:
    """Resolve the recipe and run all checks of a start except those of its folder. Writes nothing.

    Raises UserError for what cannot work.
    """
    recipe, _ = _prepare(recipe, parallel.setup())
    return recipe


@contextlib.contextmanager
def silence(wanted: bool) -> Iterator[None]:
    """Inside, nothing is printed, if that is wanted."""
    with contextlib.redirect_stdout(io.StringIO()) if wanted else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Inside, torch uses this many CPU threads, for evaluation and reports too; 0: as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Finished(NamedTuple):
    """A run that has ended well. `parts` holds the trained task."""

    recipe: Recipe  # resolved
    parts: Parts
    history: list[dict[str, Any]]  # the lines of metrics.jsonl
    summary: dict[str, Any]


def carry_out(recipe: Recipe, out: Path, *, resume: bool = False, overwrite: bool = False) -> Finished:
    """Do everything that `run` does, except its closing words. Returns the trained task, its data, its history and
    its summary.
    """
    start, device = time.perf_counter(), parallel.setup()
    with terminable(), _lost_process(), _alone_in(out), _tuned_code(out, resume):
        check_folder(out, resume=resume, overwrite=overwrite)
        if resume:
            recipe, parts = _prepare_again(recipe, device, out)
        else:
            recipe, parts = _prepare(recipe, device)
        main = parallel.rank() == 0
        parallel.barrier()  # every process has seen the folder as it was
        if main:
            print(_opening(recipe, parts, out, resume))
        result = _fit(recipe, parts, out, resume)
        summary = _summary(recipe, parts, result, out) | {"seconds": round(time.perf_counter() - start, 1)}
        if main:
            with writing("the trained model and its report", out):
                save_task(result.task, recipe, out / "model")
                write_json(out / "summary.json", summary)
                write_report(out, recipe, parts, result.history, summary)
        parallel.barrier()
    return Finished(recipe, parts, result.history, summary)


@contextlib.contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """Inside, no other run is in `out`; process 0 locks it and cleans up after a run that was killed."""
    check_place(out)
    with contextlib.ExitStack() as stack:
        failure = None
        if parallel.rank() == 0:
            try:
                stack.enter_context(locked(out))
                settle(out)
            except UserError as error:
                failure = error
        parallel.agree(failure, UserError(f"process 0 cannot use {out}; its message says why"))
        yield


@contextlib.contextmanager
def _tuned_code(out: Path, resume: bool) -> Iterator[None]:
    """Inside, every process uses tuned code where process 0 does, and a resumed run where it did before."""
    mine = read_choice(out) if resume else choice.in_use()
    with choice.use(parallel.gather(mine)[0]):
        yield


def _prepare(recipe: Recipe, device: torch.device) -> tuple[Recipe, Parts]:
    """The resolved recipe and its parts, tried on the first samples."""
    recipe = resolve(recipe)
    parts = build(recipe, device)
    parameter_groups(parts.task, recipe.optim)  # refuses here, before there is a folder, what `fit` would refuse
    recipe.schedule.length(updates_per_epoch(parts.train, recipe.training))
    probe(parts, device, recipe.training.precision)
    return with_settings(recipe, parts.task.parts()["backbone"]), parts


def _prepare_again(recipe: Recipe, device: torch.device, out: Path) -> tuple[Recipe, Parts]:
    """The same for resuming the run in `out`: its checkpoint replaces weights to start from."""
    recipe = resolve_again(recipe, read_recipe(out))
    check_same(recipe, out)
    parts = build(replace(recipe, model=replace(recipe.model, weights="", class_map="")), device)
    check_same_data(parts, out)
    probe(parts, device, recipe.training.precision)
    return recipe, parts


def _fit(recipe: Recipe, parts: Parts, out: Path, resume: bool) -> FitResult:
    val = parts.val
    begun = resume or parallel.rank() > 0  # process 0 alone makes the folder
    with contextlib.nullcontext(lambda: None) if begun else new_run(out, recipe) as forget_old:
        if not begun:
            write_data(parts, out)

        parts.list_bad_files(out)

        def on_save(task: nn.Module, folder: Path) -> None:
            forget_old()
            save_task(task, recipe, folder / "model")

        return fit(
            parts.task,
            parts.train,
            optim=recipe.optim,
            schedule=recipe.schedule,
            training=recipe.training,
            out=out,
            evaluate=(lambda task: measure(task, val)) if val else None,
            resume=resume,
            recipe=hash_of_run(out) if resume else recipe_hash(recipe),
            on_save=on_save,
        )


@contextlib.contextmanager
def _lost_process() -> Iterator[None]:
    """Raise RunError with one sentence for torch's errors when another process of this run or of a loader has ended."""
    try:
        with lost_worker_said():
            yield
    except RuntimeError as error:
        known = isinstance(error, RunError) or parallel.world() == 1
        if known or not re.search(r"connection|peer|nccl|timed out", str(error), re.IGNORECASE):
            raise
        raise RunError("another process of this run has ended; its message says why") from error


def _summary(recipe: Recipe, parts: Parts, result: FitResult, out: Path) -> dict[str, Any]:
    """The key numbers; shares are fractions."""
    best = {f"best_{name}": result.best[name] for name in result.metrics if result.best and name in result.best}
    return {
        "recipe": recipe.name,
        "task": recipe.task.kind,
        "model": recipe.model.name,
        "parameters": sum(p.numel() for p in result.task.parameters()),
        "epochs": max((line["epoch"] for line in result.history), default=0),
        "train_samples": len(parts.train.source),
        "val_samples": len(parts.val.source) - int(result.metrics.get("left_out", 0)) if parts.val else 0,
        "train_loss": next((line["loss"] for line in reversed(result.history) if line["split"] == "train"), None),
        **result.metrics,
        **best,
        "report": str(out / "report.html"),
    }


def _opening(recipe: Recipe, parts: Parts, out: Path, resume: bool) -> str:
    size = sum(p.numel() for p in parts.task.parameters())
    held_out = f", {len(parts.val.source):,} held out" if parts.val else ""
    kinds = f" in {len(parts.classes)} classes" if parts.classes else " without labels"
    begin = f"{recipe.model.weights}: {parts.loaded}" if parts.loaded else "random, from scratch"
    weights = "those of the checkpoint" if resume else begin
    lines = [
        f"{recipe.name}: {recipe.model.name} with {size / 1e6:.2f} M parameters, {recipe.inputs.in_words()}",
        f"data: {recipe.data.path}, {len(parts.train.source):,} pictures{kinds}{held_out}",
        f"weights: {weights}",
        *parts.task.opening(),
        f"run folder: {out}",
    ]
    return "\n".join(lines)


def _closing(finished: Finished, out: Path) -> str:
    """The result, the report, and the next command to try."""
    recipe, summary, task = finished.recipe, finished.summary, finished.parts.task
    then = task.then(str(out), recipe.data.path, recipe.inputs)
    result = task.closing(summary)
    return f"{result}, {summary['seconds']:.0f} s\nreport: {summary['report']}\nnext: {then}"
