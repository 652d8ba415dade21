"""The report of a run, from what is in its hands when it ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from muntin.data import Loader, Preprocess, Source, Subset
from muntin.engine import environment
from muntin.errors import UserError
from muntin.evals.topk import MATRIX_CLASSES
from muntin.recipes.recipe import Recipe
from muntin.report import Page, Tile, pictures, sections
from muntin.report import inside_the_model as lens
from muntin.tasks import Classification, SimMIM
from muntin.tasks.simmim import denormalise_locally

from .build import Parts, Task

BATCH = 100
MOST = 1000  # pictures that the report looks at; larger validation sets are thinned evenly


def write_report(
    out: Path, recipe: Recipe, parts: Parts, history: list[dict[str, Any]], summary: dict[str, Any]
) -> None:
    """Write report.html of a finished run, whose trained task is in `parts`; on process 0 alone."""
    page = Page(f"{recipe.name}: {recipe.model.name}", recipe.about.paper or "muntin")
    page.tiles(_tiles(summary))
    sections.curves(page, {recipe.name: history})
    source, task = (parts.val or parts.train).source, parts.task
    if isinstance(task, SimMIM):
        add_reconstructions(page, task, parts.val or parts.train, recipe.inputs)
    else:
        add_predictions(page, task, source, recipe.inputs)
    add_insides(page, {recipe.model.name: task}, source, recipe.inputs)
    sections.recipe(page, dataclasses.asdict(recipe))
    sections.environment(page, environment())
    sections.files(page, out)
    page.write(out / "report.html")


def _tiles(summary: dict[str, Any]) -> list[Tile]:
    on = f"{summary['val_samples']:,} held-out pictures"
    tiles = [Tile(label, summary[key], on) for key, label in (("top1", "top-1"), ("top5", "top-5")) if key in summary]
    if "loss" in summary:
        tiles.append(Tile("loss", f"{summary['loss']:.4f}", on))
    minutes, seconds = divmod(round(summary["seconds"]), 60)
    return [
        *tiles,
        Tile("parameters", f"{summary['parameters'] / 1e6:.2f} M"),
        Tile("epochs", f"{summary['epochs']:,}", f"of {summary['train_samples']:,} pictures"),
        Tile("time", f"{minutes} min {seconds} s"),
    ]


def add_reconstructions(page: Page, task: Task, loader: Loader, preprocess: Preprocess) -> None:
    """Pictures, their masks, and what the task paints into them."""
    assert isinstance(task, SimMIM)
    device, batch = next(task.parameters()).device, next(iter(loader.epoch(0)))
    image, mask = batch["image"][:8].to(device), batch["mask"][:8].to(device)
    with torch.no_grad():
        painted = task.reconstruct(image, mask).float()
    if task.normalised_target:
        painted = denormalise_locally(painted, image, task.normalised_target)
    sections.reconstructions(page, image, task.pixel_mask(mask), painted, preprocess.mean, preprocess.std)


def add_predictions(page: Page, task: Task, source: Source, preprocess: Preprocess) -> None:
    """Confusion matrix, unless of very many classes, and the surest right and worst wrong predictions."""
    thinned = Subset(source, range(0, len(source), -(-len(source) // MOST)))
    probabilities, numbers = predict(task, thinned, preprocess)
    seen = Subset(thinned, numbers)
    labels = torch.tensor([seen.label(i) for i in range(len(seen))])
    K = len(source.classes)
    if K <= MATRIX_CLASSES:
        confusion = (labels * K + probabilities.argmax(1)).bincount(minlength=K * K).view(K, K)
        sections.confusion(page, confusion, source.classes)
    sections.predictions(page, probabilities, labels, source.classes, picture=lambda i: seen.read(i).image)


@torch.no_grad()
def predict(task: Task, source: Source, preprocess: Preprocess) -> tuple[Tensor, list[int]]:
    """Probabilities (N, K) of the pictures of a source that can be read, and their numbers in it."""
    device, inputs = next(task.parameters()).device, _inputs(source, preprocess)
    probabilities, numbers = [], []
    while batch := list(islice(inputs, BATCH)):
        images = torch.stack([image for _, image in batch]).to(device)
        probabilities.append(task.predict({"image": images})["logits"].softmax(1).cpu())
        numbers += [number for number, _ in batch]
    return torch.cat(probabilities), numbers


def _inputs(source: Source, preprocess: Preprocess) -> Iterator[tuple[int, Tensor]]:
    """Number and input of each picture that can be read: a run has not met all of them, and ends well without."""
    to_tensor = preprocess.transform()
    for number in range(len(source)):
        try:
            image = to_tensor(source.read(number).image)
        except UserError:
            continue
        yield number, image


def add_insides(page: Page, tasks: dict[str, Task], source: Source, preprocess: Preprocess) -> None:
    """Attention over a picture and position bias of the last task's model; amplitudes of all."""
    models = {name: task.model if isinstance(task, Classification) else task for name, task in tasks.items()}
    model = list(models.values())[-1]
    device = next(model.parameters()).device
    images = torch.stack([image for _, image in islice(_inputs(source, preprocess), 32)]).to(device)
    picture = pictures.from_tensor(images[0], preprocess.mean, preprocess.std)
    if maps := lens.attention(model, images[0]):
        sections.attention(page, picture, maps)
    if bias := lens.position_bias(model):
        sections.position_bias(page, bias)
    amplitudes = {name: lens.amplitudes(model, images) for name, model in models.items()}
    if any(amplitudes.values()):
        sections.amplitude(page, amplitudes)
