"""The walk from ResNet to ConvNeXt on the built-in digits: every step as a small network, trained from scratch.

    python benchmarks/roadmap_digits.py --json src/muntin/catalog/roadmap_digits.json --markdown docs/benchmarks.md

Each network is a step of `models.convnext_roadmap` with an eighth of the width, a third of the blocks and one input
channel; nothing else is changed. As in the paper, the first step has the original ResNet recipe, all others the modern
one, which is 10/3 times as long.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tables import load, machine, markdown, publish
from torch import Tensor

from muntin.catalog.convnext_roadmap import ENTRIES, readout
from muntin.data import Batch, Digits
from muntin.engine import Optim, Schedule
from muntin.engine.optim import build_optimizer
from muntin.models.convnext_roadmap import Roadmap, RoadmapConfig
from muntin.tasks import Classification, Classifier

BATCH, SIDE, SHIFT = 100, 32, 2
MEAN, STD = 0.13, 0.31  # of digits with a margin
DEPTHS = {(3, 4, 6, 3): (1, 2, 2, 1), (3, 3, 9, 3): (1, 1, 3, 1)}
STEPS = {entry.name: entry for entry in ENTRIES if not entry.name.startswith("convnext_roadmap_b")}


@dataclass(frozen=True)
class Recipe:
    """How a step is trained."""

    optim: Optim
    schedule: Schedule
    smoothing: float  # of labels
    shifts: bool  # pictures by up to 2 pixels, another way in every epoch
    drop_path_rate: float


ORIGINAL = Recipe(
    Optim(kind="sgd", lr=0.1, momentum=0.9, weight_decay=1e-4, clip_grad=0),
    Schedule(kind="step", epochs=3, warmup_epochs=0, decay_epochs=1),
    smoothing=0.0,
    shifts=False,
    drop_path_rate=0.0,
)
MODERN = Recipe(
    Optim(lr=4e-3, weight_decay=0.05, clip_grad=0),
    Schedule(clock="inclusive_update", epochs=10, warmup_epochs=1, warmup_lr=0, min_lr=1e-6),
    smoothing=0.1,
    shifts=True,
    drop_path_rate=0.1,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each step (default 3)")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), help="default: all")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also put top-1 of every run into this file")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also put the table into this document")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    train, val = pictures("train"), pictures("val")
    top1: dict[str, list[float]] = {}
    rows, began = [], time.perf_counter()
    for name in options.steps:
        start = time.process_time()
        recipe = ORIGINAL if name.endswith("_00") else MODERN
        top1[name] = [trained(name, recipe, seed, train, val) for seed in range(options.seeds)]
        rows.append(row(name, top1[name], (time.process_time() - start) / options.seeds))
        print(" | ".join(rows[-1]), flush=True)
    said = (
        f"{options.seeds} seeds, mean +- standard deviation; 1,000 held-out digits, so that one picture is 0.1 %. "
        f"{machine(options.threads)}. {time.perf_counter() - began:.0f} s in all, load average {load()}."
    )
    header = ["step", "what changed", "top-1 %, digits", "top-1 %, ImageNet (paper)", "thousand parameters", "CPU s"]
    publish("roadmap_digits", f"{markdown(header, rows)}\n\n{said}", options.markdown)
    if options.json:
        options.json.write_text(json.dumps(top1, indent=1) + "\n", encoding="utf-8")


def small(config: RoadmapConfig) -> RoadmapConfig:
    """The same step, as narrow and short as the digits need."""
    return replace(config, in_chans=1, width=config.width // 8, depths=DEPTHS[config.depths])


def classifier(name: str, drop_path_rate: float = 0.0) -> Classifier:
    config = small(STEPS[name].config)
    return Classifier(Roadmap(config, drop_path_rate), 10, readout(config))


def trained(name: str, recipe: Recipe, seed: int, train: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor]) -> float:
    """Train one step; top-1 in % on the held-out digits."""
    torch.manual_seed(seed)
    task = Classification(classifier(name, recipe.drop_path_rate)).train()
    optimizer = build_optimizer(task, recipe.optim, BATCH)
    updates = len(train[0]) // BATCH
    for update, batch in enumerate(batches(*train, recipe)):
        for group in optimizer.param_groups:
            group["lr"] = recipe.schedule.lr(update, recipe.optim.lr, updates)
        task.losses(batch).terms["cross_entropy"].backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.inference_mode():
        right = (task.eval().model(val[0]).argmax(1) == val[1]).sum().item()
    return 100 * right / len(val[0])


def batches(images: Tensor, labels: Tensor, recipe: Recipe) -> Iterator[Batch]:
    targets = F.one_hot(labels, 10) * (1 - recipe.smoothing) + recipe.smoothing / 10
    for _ in range(recipe.schedule.epochs):
        for chosen in torch.randperm(len(images)).split(BATCH):
            batch = images[chosen]
            if recipe.shifts:
                batch = torch.stack([shifted(image) for image in batch])
            yield Batch({"image": batch}, {"soft": targets[chosen]})


def shifted(image: Tensor) -> Tensor:
    """Moved by whole pixels; the margin of a digit is as wide as that."""
    down, right = torch.randint(-SHIFT, SHIFT + 1, (2,)).tolist()
    return image.roll((down, right), (1, 2))


def pictures(split: str) -> tuple[Tensor, Tensor]:
    """All digits with a margin, (N, 1, 32, 32), and their labels."""
    digits = Digits(split)  # type: ignore[arg-type]
    samples = [digits.read(i) for i in range(len(digits))]
    images = torch.from_numpy(np.stack([np.asarray(sample.inputs["image"]) for sample in samples]))[:, None] / 255
    margin = (SIDE - images.shape[-1]) // 2
    return (F.pad(images, [margin] * 4) - MEAN) / STD, torch.tensor([sample.target["label"] for sample in samples])


def row(name: str, found: list[float], seconds: float) -> list[str]:
    entry = STEPS[name]
    spread = f" +- {statistics.stdev(found):.2f}" if len(found) > 1 else ""
    parameters = sum(p.numel() for p in classifier(name).parameters()) / 1e3
    published = f"{entry.top1:.2f}" if entry.top1 else "diverges"
    step = name.removeprefix("convnext_roadmap_")
    return [step, entry.note, f"{statistics.mean(found):.2f}{spread}", published, f"{parameters:.0f}", f"{seconds:.1f}"]


if __name__ == "__main__":
    main()
