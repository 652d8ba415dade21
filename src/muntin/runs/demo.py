"""The demo: Swin V2's whole story in miniature, on the 5,000 built-in digits.

Pre-train without labels, fine-tune on few and on all labels, move to a larger window and picture, report.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from muntin.data import Loader
from muntin.engine import Schedule
from muntin.recipes.digits import digits_finetune, digits_simmim
from muntin.recipes.recipe import ModelChoice, Recipe

from .demo_report import write_demo_report
from .folder import check_folder, open_folder, save_task, write_json
from .lock import locked
from .measure import measure
from .run import Finished, carry_out, silence, threads

LABELS_PER_CLASS = 20
FEW = ("top1_few_labels_pretrained", "top1_few_labels_scratch")
WINDOW, IMAGE = (6, 6), (48, 48)  # to be transferred to, from windows of 3 x 3 on 24 x 24 pixels
SHORT = Schedule(kind="cosine", epochs=1, warmup_epochs=0, min_lr=1e-5)  # the "short fine-tune" after the transfer


def run_demo(out: str | Path = "runs/demo", *, overwrite: bool = False, quiet: bool = False) -> dict[str, Any]:
    """Run the demo into the folder `out`. Returns its summary, as in summary.json (shares are fractions).

    Raises UserError if `out` exists, unless it is a run to overwrite.
    """
    recipes = digits_simmim(), digits_finetune()
    with silence(quiet), threads(recipes[0].training.threads), locked(Path(out)):
        return tell(*recipes, Path(out), overwrite)


def tell(pretraining: Recipe, finetuning: Recipe, out: Path, overwrite: bool = False) -> dict[str, Any]:
    """Run the story with given recipes: `pretraining` is SimMIM on digits, `finetuning` starts from its weights."""
    check_folder(out, resume=False, overwrite=overwrite)
    open_folder(out, finetuning)
    clock = _Clock()
    with clock.part(
        "pretrain", "1. Pre-training: a small Swin V2 paints the hidden squares of 4,000 digits. No labels."
    ):
        pretrained = carry_out(pretraining, out / "pretrained")
        finetuning = _from(finetuning, out / "pretrained")
    with clock.part(
        "few_labels", f"2. Few labels: {LABELS_PER_CLASS} of every digit, after pre-training and from scratch."
    ):
        few = {
            "pre-trained, few labels": carry_out(_few_labels(finetuning), out / "few_labels_pretrained"),
            "from scratch, few labels": carry_out(_few_labels(_from_scratch(finetuning)), out / "few_labels_scratch"),
        }
    with clock.part("finetune", "3. All labels: the pre-trained model learns from all 4,000."):
        full = carry_out(finetuning, out / "finetuned")
    with clock.part("v1", "4. A Swin V1 of the same size, trained the same way, to compare with."):
        carry_out(_v1(pretraining), out / "v1_pretrained")
        v1 = carry_out(_from(_v1(finetuning), out / "v1_pretrained"), out / "v1_finetuned")
    with clock.part("transfer", f"5. Transfer: both move to windows of {WINDOW[0]} and pictures of {IMAGE[0]} pixels."):
        moved = {
            "v2_log_cpb": _transfer(full, out / "transfer/v2_start", out / "transfer/v2"),
            "v1_bicubic": _transfer(v1, out / "transfer/v1_start", out / "transfer/v1"),
        }
    summary = {
        "top1": full.summary["top1"],
        "top5": full.summary["top5"],
        "labels_per_class": LABELS_PER_CLASS,
        **{key: run.summary["top1"] for key, run in zip(FEW, few.values())},
        "transfer": {"from": _scale(full.recipe), "to": {"window": WINDOW[0], "image": IMAGE[0]}, **moved},
        "simmim_loss": pretrained.summary["loss"],
        "parameters": full.summary["parameters"],
        "seconds": clock.all(),
        "report": str(out / "report.html"),
    }
    save_task(full.parts.task, full.recipe, out / "model")
    write_json(out / "summary.json", summary)
    write_demo_report(out, summary, pretrained, few, full, v1)
    print(_closing(out, summary))
    return summary


def _from(recipe: Recipe, weights: Path) -> Recipe:
    return replace(recipe, model=replace(recipe.model, weights=str(weights)))


def _from_scratch(recipe: Recipe) -> Recipe:
    return replace(recipe, model=replace(recipe.model, weights="", from_scratch=True))


def _v1(recipe: Recipe) -> Recipe:
    """The same recipe for a Swin V1 of the same widths and depths, at half the rate: V2's is too high for it."""
    optim = replace(recipe.optim, lr=recipe.optim.lr / 2)
    return replace(recipe, model=replace(recipe.model, name="swin_tiny"), optim=optim)


def _few_labels(recipe: Recipe) -> Recipe:
    """For few updates with few labels: more epochs and a higher rate, found by measuring, the same for both."""
    return replace(
        recipe,
        data=replace(recipe.data, labels_per_class=LABELS_PER_CLASS),
        optim=replace(recipe.optim, lr=recipe.optim.lr * 5 / 3),
        schedule=replace(recipe.schedule, epochs=recipe.schedule.epochs * 5),
    )


def _transfer(trained: Finished, start: Path, out: Path) -> dict[str, float]:
    """Top-1 as trained, and with larger window and picture: without more training, and after a short fine-tune.

    The moved weights are saved in `start`; the short fine-tune is a run in `out`.
    """
    recipe, task = trained.recipe, copy.deepcopy(trained.parts.task)
    task.parts()["backbone"].set_window(WINDOW)
    moved = replace(
        recipe,
        model=ModelChoice(weights=str(start), from_scratch=False, drop_path_rate=recipe.model.drop_path_rate),
        inputs=replace(recipe.inputs, image_size=IMAGE),
        optim=replace(recipe.optim, lr=recipe.optim.lr / 3),
        schedule=SHORT,
    )
    val = trained.parts.val
    assert val is not None
    without = measure(task, Loader(val.source, moved.inputs.eval_transform(), batch_size=val.batch_size))["top1"]
    print(f"top-1 {trained.summary['top1']:.2%} as trained, {without:.2%} after the move; now a short fine-tune")
    save_task(task, replace(moved, model=recipe.model), start)
    after = carry_out(moved, out).summary["top1"]
    return {"trained": trained.summary["top1"], "without": without, "with": after}


def _scale(recipe: Recipe) -> dict[str, Any]:
    return {"window": recipe.model.config["window"][0], "image": recipe.inputs.image_size[0]}


class _Clock:
    """Prints which part begins, and how long each took."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def part(self, name: str, title: str) -> Iterator[None]:
        print(f"\n{title}\n", flush=True)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 1)

    def all(self) -> dict[str, float]:
        return {**self.seconds, "total": round(time.perf_counter() - self.started, 1)}


def _closing(out: Path, summary: dict[str, Any]) -> str:
    moved = summary["transfer"]
    labels, pretrained, scratch = (summary[f"{name}"] for name in ("labels_per_class", *FEW))
    transfer = [
        f"window {moved['from']['window']} to {moved['to']['window']}, {name}: "
        f"{moved[key]['without']:.2%} at once, {moved[key]['with']:.2%} after a short fine-tune"
        for name, key in (("V2 by log-CPB", "v2_log_cpb"), ("V1 by bicubic table", "v1_bicubic"))
    ]
    lines = [
        f"top-1 with all labels: {summary['top1']:.2%}",
        f"top-1 with {labels} labels a digit: {pretrained:.2%} pre-trained, {scratch:.2%} from scratch",
        *transfer,
        f"time: {summary['seconds']['total']:.0f} s",
        f"report: {summary['report']}",
        f"next: muntin predict {out} digits",
    ]
    return "\n" + "\n".join(lines)
