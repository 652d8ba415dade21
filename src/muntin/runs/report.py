"""The report of a finished run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from torch import nn

from muntin.data import Loader, Source, Subset
from muntin.draw.pixels import from_tensor
from muntin.engine import environment
from muntin.engine.evaluate import answers
from muntin.recipes.recipe import Recipe
from muntin.report import Page, Tile, inside_the_model, sections
from muntin.report import answers as of_answers

from .build import Parts

BATCH = 100
INSIDE = 32  # samples whose way through the model is looked at


def write_report(
    out: Path, recipe: Recipe, parts: Parts, history: list[dict[str, Any]], summary: dict[str, Any]
) -> None:
    """Write report.html of a finished run, whose trained task is in `parts`; on process 0 alone."""
    page = Page(f"{recipe.name}: {recipe.model.name}", recipe.about.paper or "muntin")
    page.tiles(_tiles(parts.task, summary))
    sections.curves(page, {recipe.name: history})
    source = (parts.val or parts.train).source
    add_answers(page, parts.task, source, recipe)
    add_insides(page, {recipe.model.name: parts.task}, source, recipe)
    sections.recipe(page, dataclasses.asdict(recipe))
    sections.environment(page, environment())
    sections.files(page, out)
    page.write(out / "report.html")


def _tiles(task: Any, summary: dict[str, Any]) -> list[Tile]:
    on = f"{summary['val_samples']:,} held-out samples"
    values = {metric: summary[metric] for metric, _, _ in task.shown if metric in summary}
    tiles = [
        Tile(label, values[metric] if share else f"{values[metric]:.4f}", on)
        for metric, label, share in task.shown
        if metric in values
    ]
    minutes, seconds = divmod(round(summary["seconds"]), 60)
    return [
        *tiles,
        Tile("parameters", f"{summary['parameters'] / 1e6:.2f} M"),
        Tile("epochs", f"{summary['epochs']:,}", f"of {summary['train_samples']:,} samples"),
        Tile("time", f"{minutes} min {seconds} s"),
    ]


def add_answers(page: Page, task: Any, source: Source, recipe: Recipe) -> None:
    """Add what the task answers to samples of the source."""
    kind = task.answers
    loader = _loader(task, source, recipe, of_answers.most(kind))
    of_answers.add(page, kind, answers(task, loader), loader.source, task, recipe.inputs)


def add_insides(page: Page, tasks: dict[str, Any], source: Source, recipe: Recipe) -> None:
    """Add attention over a picture and position bias of the last task's model, and amplitudes of all."""
    backbones: dict[str, nn.Module] = {name: task.parts()["backbone"] for name, task in tasks.items()}
    task, backbone = list(tasks.values())[-1], list(backbones.values())[-1]
    batch = next(iter(_loader(task, source, recipe, INSIDE).epoch(0)))
    images = batch.inputs["image"][:INSIDE].to(next(backbone.parameters()).device)
    picture = from_tensor(images[0], recipe.inputs.mean, recipe.inputs.std)
    if maps := inside_the_model.attention(backbone, images[0]):
        sections.attention(page, picture, maps)
    if bias := inside_the_model.position_bias(backbone):
        sections.position_bias(page, bias)
    amplitudes = {name: inside_the_model.amplitudes(each, images) for name, each in backbones.items()}
    if any(amplitudes.values()):
        sections.amplitude(page, amplitudes)


def _loader(task: Any, source: Source, recipe: Recipe, most: int) -> Loader:
    """At most this many samples, evenly spread, as in evaluation; those that cannot be read are left out."""
    thinned = Subset(source, range(0, len(source), -(-len(source) // most)))
    return Loader(
        thinned,
        recipe.inputs.eval_transform(),
        prepare=task.prepare,
        collate=task.collate,
        batch_size=BATCH,
        seed=recipe.training.seed,
        bad_share=1 - 1e-9,
    )
