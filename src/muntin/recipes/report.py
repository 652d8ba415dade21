"""The report of a run, from what is in its hands when it ends."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from muntin.data import Loader, Preprocess, Source, Subset
from muntin.engine import environment
from muntin.report import Page, Tile, lens, pictures, sections
from muntin.tasks import Classification, SimMIM
from muntin.tasks.simmim import denormalise_locally

from .build import Parts, Task
from .recipe import Recipe

BATCH = 100
MOST = 1000  # pictures that the report looks at; larger validation sets are thinned evenly


def write_report(
    out: Path, recipe: Recipe, parts: Parts, history: list[dict[str, Any]], summary: dict[str, Any]
) -> None:
    """Write report.html of a finished run, whose trained task is in `parts`; on process 0 alone."""
    page = Page(f"{recipe.name}: {recipe.model.name}", recipe.about.paper or "muntin")
    page.tiles(_tiles(summary))
    sections.curves(page, {recipe.name: history})
    source, task = (parts.val or parts.train).readable(), parts.task
    if isinstance(task, SimMIM):
        add_reconstructions(page, task, parts.val or parts.train, recipe.preprocess)
    else:
        add_predictions(page, task, source, recipe.preprocess)
    add_insides(page, {recipe.model.name: task}, source, recipe.preprocess)
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
    """Confusion matrix, and the surest right and worst wrong predictions."""
    seen = Subset(source, range(0, len(source), -(-len(source) // MOST)))
    probabilities, labels = predict(task, seen, preprocess)
    K = len(source.classes)
    confusion = torch.zeros(K, K, dtype=torch.int64)
    confusion.index_put_((labels, probabilities.argmax(1)), torch.ones_like(labels), accumulate=True)
    sections.confusion(page, confusion, source.classes)
    sections.predictions(page, probabilities, labels, source.classes, picture=lambda i: seen.read(i).image)


@torch.no_grad()
def predict(task: Task, source: Source, preprocess: Preprocess) -> tuple[Tensor, Tensor]:
    """Probabilities (N, K) and labels (N,) of all pictures of a source."""
    device, to_tensor = next(task.parameters()).device, preprocess.transform()
    probabilities, labels = [], []
    for start in range(0, len(source), BATCH):
        samples = [source.read(i) for i in range(start, min(start + BATCH, len(source)))]
        images = torch.stack([to_tensor(sample.image) for sample in samples]).to(device)
        probabilities.append(task.predict({"image": images})["logits"].softmax(1).cpu())
        labels += [sample.label for sample in samples]
    return torch.cat(probabilities), torch.tensor(labels)


def add_insides(page: Page, tasks: dict[str, Task], source: Source, preprocess: Preprocess) -> None:
    """Attention over a picture and position bias of the last task's model; amplitudes of all."""
    to_tensor = preprocess.transform()
    models = {name: task.model if isinstance(task, Classification) else task for name, task in tasks.items()}
    model = list(models.values())[-1]
    device = next(model.parameters()).device
    images = torch.stack([to_tensor(source.read(i).image) for i in range(min(len(source), 32))]).to(device)
    picture = pictures.from_tensor(images[0], preprocess.mean, preprocess.std)
    sections.attention(page, picture, lens.attention(model, images[0]))
    if bias := lens.position_bias(model):
        sections.position_bias(page, bias)
    sections.amplitude(page, {name: lens.amplitudes(model, images) for name, model in models.items()})
