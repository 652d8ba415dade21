"""`muntin eval RUN_OR_MODEL --data PLACE`: top-1, top-5 and every class, each picture counted once."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from muntin.errors import UserError

from .arguments import Parser, not_negative, positive

if TYPE_CHECKING:
    from muntin.evals import TopKResult


def parser() -> Parser:
    options = Parser("eval", "Measure a trained model on labelled pictures. Under torchrun, processes share the work.")
    options.add_argument("model", help="run folder, or its model/ folder")
    options.add_argument("--data", required=True, help="folder, .csv of path,label, or `digits`; its val part counts")
    options.add_argument("--all", action="store_true", help="every picture, where the data has no val part of its own")
    options.add_argument("--batch-size", type=positive, default=64, help="pictures a step and process (default: 64)")
    options.add_argument("--workers", type=not_negative, default=0, help="processes that read pictures (default: 0)")
    options.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    return options


def run(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)

    from muntin.data import Loader, Preprocess, eval_transform, open_data
    from muntin.engine import parallel
    from muntin.predict import evaluate
    from muntin.saved import load_model

    saved = load_model(given.model)
    splits = open_data(given.data, val_share=0.0) if given.all else open_data(given.data)
    source = splits.val or splits.train
    check_classes(saved.classes, source.classes, given.model, given.data)
    device = parallel.setup()
    loader = Loader(
        source,
        eval_transform(Preprocess.from_dict(saved.preprocess)),
        batch_size=given.batch_size,
        workers=given.workers,
        rank=parallel.rank(),
        world=parallel.world(),
    )
    result = evaluate(saved.model.to(device), loader, len(saved.classes))
    if parallel.rank() == 0:
        if given.json:
            print(json.dumps(record(result, saved.classes), indent=2))
        else:
            _print(result, saved.classes)
    parallel.cleanup()
    return 0


def check_classes(model: tuple[str, ...], data: tuple[str, ...], model_place: str, data_place: str) -> None:
    """Raise UserError unless both have the same class names in the same order."""
    if model == data:
        return
    if not data:
        raise UserError(f"{data_place} has no labels; evaluation needs a folder with one folder a class, or a .csv")
    sides = {
        f"only in {data_place}": sorted(set(data) - set(model)),
        f"only in {model_place}": sorted(set(model) - set(data)),
    }
    said = [f"{place}: {', '.join(n[:8])}{', ...' if len(n) > 8 else ''}" for place, n in sides.items() if n]
    differ = "; ".join(said) or "the same names in another order"
    raise UserError(f"classes of the model ({len(model)}) and of the data ({len(data)}) differ, {differ}")


def record(result: TopKResult, classes: tuple[str, ...]) -> dict[str, Any]:
    """The result for JSON: shares as fractions; the recall of a class without pictures is null."""
    return {
        "samples": result.samples,
        "top1": result.top1,
        "top5": result.top5,
        "per_class": {name: None if math.isnan(r) else r for name, r in zip(classes, result.per_class)},
        "confusion": result.confusion.tolist(),
    }


def _print(result: TopKResult, classes: tuple[str, ...]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("class", box=None, header_style="bold")
    for title in ("pictures", "right", "recall %"):
        table.add_column(title, justify="right")
    table.add_column("most often taken for")
    for k, (name, recall) in enumerate(zip(classes, result.per_class)):
        row = result.confusion[k].tolist()
        pictures, right = sum(row), row[k]
        row[k] = 0
        mistake = f"{classes[row.index(max(row))]} ({max(row)})" if any(row) else ""
        table.add_row(name, f"{pictures:,}", f"{right:,}", "" if math.isnan(recall) else f"{recall:.2%}"[:-1], mistake)
    Console().print(table)
    print(f"top-1 {result.top1:.2%}  top-5 {result.top5:.2%}  on {result.samples:,} pictures")
