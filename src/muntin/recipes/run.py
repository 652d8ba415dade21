"""Runs a recipe: builds its parts, trains, and leaves a run folder.

recipe.json · environment.json · metrics.jsonl · tensorboard/ · checkpoints/ · model/ · summary.json · report.html
"""

from __future__ import annotations

import contextlib
import io
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

from muntin.engine import FitResult, checkpoint, fit, parallel
from muntin.errors import UserError

from .build import Parts, build
from .folder import check_folder, check_same, open_folder, save_task, write_json
from .measure import measure
from .recipe import Recipe
from .report import write_report
from .resolve import resolve


def run(
    recipe: Recipe, out: str | Path, *, resume: bool = False, overwrite: bool = False, quiet: bool = False
) -> dict[str, Any]:
    """Train by a recipe into the folder `out`; the summary, as in its summary.json.

    resume: go on from the newest checkpoint in `out`; the recipe must be the one saved there, up to what changes no
    number. overwrite: replace the run that is there. quiet: print nothing.
    Under torchrun every process calls it and gets the summary; process 0 writes.

    Raises UserError for what cannot work; `out` is then as it was, or not there.
    """
    with contextlib.redirect_stdout(io.StringIO()) if quiet else contextlib.nullcontext():
        finished = carry_out(recipe, Path(out), resume=resume, overwrite=overwrite)
        if parallel.rank() == 0:
            print(_closing(finished.recipe, finished.summary, Path(out)))
    return finished.summary


class Finished(NamedTuple):
    """A run that has ended well. `parts` holds the trained task."""

    recipe: Recipe  # resolved
    parts: Parts
    history: list[dict[str, Any]]  # the lines of metrics.jsonl
    summary: dict[str, Any]


def carry_out(recipe: Recipe, out: Path, *, resume: bool = False, overwrite: bool = False) -> Finished:
    """What `run` does, up to its closing words, with everything still in hand."""
    start, device = time.perf_counter(), parallel.setup()
    recipe = resolve(recipe)
    check_folder(out, resume=resume, overwrite=overwrite)
    if resume:
        check_same(recipe, out)
    parts = build(recipe, device)
    main = parallel.rank() == 0
    parallel.barrier()  # every process has seen the folder as it was
    if main:
        print(_opening(recipe, parts, out))
        if not resume:
            open_folder(out, recipe)
    result = _fit(recipe, parts, out, resume)
    summary = _summary(recipe, parts, result, out) | {"seconds": round(time.perf_counter() - start, 1)}
    if main:
        save_task(result.task, recipe, parts.classes, out / "model")
        write_json(out / "summary.json", summary)
        write_report(out, recipe, parts, result.history, summary)
    parallel.barrier()
    return Finished(recipe, parts, result.history, summary)


def _fit(recipe: Recipe, parts: Parts, out: Path, resume: bool) -> FitResult:
    val, by = parts.val, "top1" if recipe.task == "classification" else "loss"
    try:
        return fit(
            parts.task,
            parts.train,
            optim=recipe.optim,
            schedule=recipe.schedule,
            training=recipe.training,
            out=out,
            evaluate=(lambda task: measure(task, val)) if val else None,
            best_by=by if val else "",
            higher_is_better=by == "top1",
            resume=resume,
            on_save=lambda task, folder: save_task(task, recipe, parts.classes, folder / "model"),
        )
    except UserError:
        if parallel.rank() == 0 and not checkpoint.exist(out / "checkpoints"):
            shutil.rmtree(out, ignore_errors=True)  # it never got going: a file that is no picture, in the first epoch
        raise


def _summary(recipe: Recipe, parts: Parts, result: FitResult, out: Path) -> dict[str, Any]:
    """The key numbers; shares are fractions."""
    best = {} if result.best is None else {f"best_{name}": result.best[name] for name in result.metrics}
    return {
        "recipe": recipe.name,
        "task": recipe.task,
        "model": recipe.model.name,
        "parameters": sum(p.numel() for p in result.task.parameters()),
        "epochs": recipe.schedule.epochs,
        "train_samples": len(parts.train.source),
        "val_samples": len(parts.val.source) if parts.val else 0,
        "train_loss": next(line["loss"] for line in reversed(result.history) if line["split"] == "train"),
        **result.metrics,
        **best,
        "report": str(out / "report.html"),
    }


def _opening(recipe: Recipe, parts: Parts, out: Path) -> str:
    size = sum(p.numel() for p in parts.task.parameters())
    held_out = f", {len(parts.val.source):,} held out" if parts.val else ""
    kinds = f" in {len(parts.classes)} classes" if parts.classes else " without labels"
    lines = [
        f"{recipe.name}: {recipe.model.name} with {size / 1e6:.2f} M parameters",
        f"data: {recipe.data.path}, {len(parts.train.source):,} pictures{kinds}{held_out}",
        f"weights: {f'{recipe.model.weights}: {parts.loaded}' if parts.loaded else 'random, from scratch'}",
        f"run folder: {out}",
    ]
    return "\n".join(lines)


def _closing(recipe: Recipe, summary: dict[str, Any], out: Path) -> str:
    """The result, the report, and the next command to try."""
    data = recipe.data.path
    if recipe.task == "simmim":
        result = f"loss on masked pixels {summary['loss' if 'loss' in summary else 'train_loss']:.4f}"
        then = f"muntin train finetune --weights {out} --data LABELLED_FOLDER"
    else:
        count = summary["val_samples"]
        result = f"top-1 {summary['top1']:.2%} on {count:,} pictures" if count else "no held-out pictures to measure on"
        then = f"muntin predict {out} {data}" if data == "digits" else f"muntin predict {out} PICTURES"
    return f"{result}, {summary['seconds']:.0f} s\nreport: {summary['report']}\nnext: {then}"
