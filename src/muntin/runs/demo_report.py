"""The demo's report: the whole story on one page."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from muntin.engine import environment
from muntin.report import Page, Tile, sections

from .report import add_answers, add_insides
from .run import Finished


def write_demo_report(
    out: Path, summary: dict[str, Any], pretrained: Finished, few: dict[str, Finished], full: Finished, v1: Finished
) -> None:
    """Write the one report.html of the whole story into `out`."""
    labels = summary["labels_per_class"]
    minutes, seconds = divmod(round(summary["seconds"]["total"]), 60)
    task, val = full.parts.task, full.parts.val
    assert val is not None  # digits bring a part of their own to hold out
    page = Page("Swin V2 on digits", f"Pre-trained, fine-tuned and transferred in {minutes} min {seconds} s.")
    page.tiles(
        [
            Tile("top-1", summary["top1"], "all labels, 1,000 held-out digits"),
            Tile("top-1, few labels", summary["top1_few_labels_pretrained"], f"{labels} a digit; pre-trained"),
            Tile("top-1, few labels", summary["top1_few_labels_scratch"], f"{labels} a digit; from scratch"),
            Tile("parameters", f"{summary['parameters'] / 1e6:.2f} M"),
            Tile("time", f"{minutes} min {seconds} s"),
        ]
    )
    add_answers(page, pretrained.parts.task, pretrained.parts.train.source, pretrained.recipe)
    sections.comparison(
        page,
        {name: run.summary["top1"] for name, run in few.items()} | {"all 4,000 labels": summary["top1"]},
        title="What pre-training is worth",
        text=f"The same model, labels ({labels} of every digit) and updates, from SimMIM's weights and from "
        "random ones; and with all labels.",
    )
    sections.curves(page, {name: run.history for name, run in (few | {"all labels": full, "Swin V1": v1}).items()})
    sections.transfer(page, _rows(summary["transfer"]))
    add_answers(page, task, val.source, full.recipe)
    add_insides(page, {"Swin V1": v1.parts.task, "Swin V2": task}, val.source, full.recipe)
    sections.recipe(page, dataclasses.asdict(full.recipe))
    sections.environment(page, environment())
    sections.files(page, out)
    page.write(out / "report.html")


def _rows(transfer: dict[str, Any]) -> list[dict[str, Any]]:
    """The paper's table 1: each kind of bias as trained, then moved."""
    rows = []
    for bias, key in (("log-CPB (Swin V2)", "v2_log_cpb"), ("table, bicubic (Swin V1)", "v1_bicubic")):
        found = transfer[key]
        rows.append({"bias": bias, **transfer["from"], "without": found["trained"], "with": None})
        rows.append({"bias": bias, **transfer["to"], "without": found["without"], "with": found["with"]})
    return rows
