"""What a small DeiT learns from a small ConvNeXt on the digits: top-1 after no, soft and hard distillation.

    python benchmarks/distil_digits.py [--epochs 8] [--seeds 0 1 2]

Every row trains the same model by the same recipe (`digits_distil`), with its one head, or with the distillation token
and a head for it. Without a teacher both heads learn the labels. Teacher, pictures and their order are the same in all
rows of a seed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from tables import machine, markdown, publish

from muntin import recipes, runs
from muntin.engine import fit
from muntin.recipes import Recipe
from muntin.runs.build import build
from muntin.runs.measure import measure
from muntin.tasks import ClassificationChoice, DistillationChoice

PAPER_SOFT = DistillationChoice(imitate="soft", temperature=3.0, alpha=0.1)  # the setting of DeiT's paper
TEXTBOOK_SOFT = replace(PAPER_SOFT, normalisation="textbook")
HARD = DistillationChoice(imitate="hard", alpha=0.5)
# what is learnt from -> how, and ImageNet top-1 of DeiT-Ti, S and B in table 3 of the paper, without and with the token
ROWS: dict[str, tuple[DistillationChoice | None, str, str]] = {
    "labels alone": (None, "72.2 / 79.8 / 81.8", "-"),
    "soft, as DeiT's code": (PAPER_SOFT, "72.2 / 79.8 / 81.8", "-"),
    "soft, as in textbooks": (TEXTBOOK_SOFT, "-", "-"),
    "hard": (HARD, "74.3 / 80.9 / 83.0", "74.5 / 81.2 / 83.4"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8, help="epochs of each student (default 8)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="a student each (default 0 1 2)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also put the table into this document")
    options = parser.parse_args()

    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "teacher"
        teacher = runs.run(recipes.get("digits_teacher"), place, quiet=True)
        print(f"teacher: {teacher['top1']:.2%}", flush=True)
        table = []
        for name, (choice, *papers) in ROWS.items():
            for token, paper in zip((False, True), papers):
                recipe = student(choice, token, str(place), options.epochs)
                found = [trained(recipe, seed, Path(folder) / f"{name}_{token}_{seed}") for seed in options.seeds]
                table.append([name, "with" if token else "without", *row(found), paper])
                print(" | ".join(table[-1]), flush=True)
    header = ["learns from", "token", "top-1 %", "class head alone", "distillation head alone", "heads disagree %"]
    header.append("paper: Ti / S / B on ImageNet")
    said = (
        f"Mean of {len(options.seeds)} seeds (lowest to highest); one picture is 0.1 %. Teacher: "
        f"{teacher['top1']:.2%}, {teacher['parameters'] / 1e3:.0f} k parameters. {options.epochs} epochs a student. "
        f"{time.process_time() - start:.0f} CPU seconds in all; {machine(torch.get_num_threads())}."
    )
    publish("distil_digits", f"{markdown(header, table)}\n\n{said}", options.markdown)


def student(choice: DistillationChoice | None, token: bool, teacher: str, epochs: int) -> Recipe:
    """The recipe of one row."""
    recipe = recipes.get("digits_distil")
    recipe = replace(recipe, schedule=replace(recipe.schedule, epochs=epochs))
    if not token:
        recipe = replace(recipe, model=replace(recipe.model, name="deit_tiny"))
    if choice is None:
        return replace(recipe, task=ClassificationChoice())
    return replace(recipe, task=replace(choice, token=token, teacher_weights=teacher))


def trained(recipe: Recipe, seed: int, folder: Path) -> dict[str, float]:
    """What the student of a seed is worth on the held-out digits."""
    training = replace(recipe.training, seed=seed, eval_every=0, save_every=0)
    parts = build(replace(recipe, training=training), torch.device("cpu"))
    val = parts.val
    assert val
    return fit(
        parts.task,
        parts.train,
        optim=recipe.optim,
        schedule=recipe.schedule,
        training=training,
        out=folder,
        evaluate=lambda task: measure(task, val),
    ).metrics


def row(found: list[dict[str, float]]) -> list[str]:
    """Mean and range of each measure over the seeds, in %."""
    names = ("top1", "class_head_top1", "distillation_head_top1", "heads_disagree")
    return [spread([100 * each[name] for each in found]) if name in found[0] else "-" for name in names]


def spread(values: list[float]) -> str:
    """`97.1 (96.9 to 97.3)`."""
    return f"{statistics.mean(values):.2f} ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    main()
