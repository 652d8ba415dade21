"""`muntin eval RUN_OR_MODEL --data PLACE`: top-1, top-5 and every class, each picture counted once.

Where the data has no validation part of its own, the part that the run held out is measured: its recipe.json says how
that part was drawn. Pictures that a model has trained on would flatter it. The whole part counts, also where the run
was content with `data.limit` pictures of it: it has trained on none.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
from typing import TYPE_CHECKING, Any

from muntin.errors import UserError

from .arguments import Parser, not_negative, positive, share
from .screen import show

if TYPE_CHECKING:
    from muntin.data import Source
    from muntin.evals import TopKResult


def parser() -> Parser:
    options = Parser("eval", "Measure a trained model on labelled pictures. Under torchrun, processes share the work.")
    options.add_argument("model", help="run folder, or its model/ folder")
    options.add_argument("--data", required=True, help="folder, .csv of path,label, or `digits`; its val part counts")
    options.add_argument("--all", action="store_true", help="every picture, where the data has no val part of its own")
    options.add_argument(
        "--val-share",
        type=share,
        help="share held out, where the data has no val part (default: the run's own, or 0.1)",
    )
    options.add_argument("--split-seed", type=not_negative, help="seed of that split (default: the run's own, or 0)")
    options.add_argument(
        "--precision", choices=("auto", "fp32", "bf16"), default="fp32", help="auto: as runs measure (default: fp32)"
    )
    options.add_argument("--batch-size", type=positive, default=64, help="pictures a step and process (default: 64)")
    options.add_argument("--workers", type=not_negative, default=0, help="processes that read pictures (default: 0)")
    options.add_argument(
        "--bad-share",
        type=share,
        help="stop above this share of pictures that cannot be read; up to it they are left out, counted and named "
        "(default: 0.05; 0: stop at the first)",
    )
    options.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    return options


def run(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    if given.all and given.val_share is not None:
        raise UserError("--all measures every picture and --val-share a part of them: give one of them")

    from muntin.data import Loader, eval_transform, inputs_from
    from muntin.engine import autocast, parallel
    from muntin.predict import evaluate
    from muntin.recipes.recipe import DataChoice
    from muntin.weights.folder import load_model

    saved = load_model(given.model)
    val_share, split_seed = 0.0 if given.all else given.val_share, given.split_seed
    if val_share is None or split_seed is None:
        own_share, own_seed = own_split(given.model)
        val_share = own_share if val_share is None else val_share
        split_seed = own_seed if split_seed is None else split_seed
    source, part = part_of(given.data, val_share, split_seed)
    check_classes(saved.classes, source.classes, given.model, given.data)
    device = parallel.setup()
    loader = Loader(
        source,
        eval_transform(inputs_from(saved.preprocess)),
        batch_size=given.batch_size,
        workers=given.workers,
        rank=parallel.rank(),
        world=parallel.world(),
        bad_share=DataChoice.bad_share if given.bad_share is None else given.bad_share,
    )
    with autocast(device, given.precision), contextlib.redirect_stdout(sys.stderr):  # where bad files are named
        result = evaluate(saved.model.to(device), loader, len(saved.classes))
    if parallel.rank() == 0:
        if given.json:
            left_out = {"left_out": len(source) - result.samples}
            print(json.dumps({"part": part} | left_out | record(result, saved.classes), indent=2))
        else:
            _print(result, saved.classes, part, len(source) - result.samples)
    parallel.cleanup()
    return 0


def own_split(model: str) -> tuple[float, int]:
    """val_share and split_seed of the run that a model belongs to; of `DataChoice` itself where there is no run."""
    from muntin.recipes import read_recipe
    from muntin.recipes.recipe import DataChoice
    from muntin.weights.load import weights_file

    for folder in weights_file(model).resolve().parents[:4]:  # RUN/checkpoints/best/model is the deepest
        if (folder / "recipe.json").is_file():
            data = read_recipe(folder).data
            return data.val_share, data.split_seed
    return DataChoice.val_share, DataChoice.split_seed


def part_of(place: str, val_share: float, split_seed: int) -> tuple[Source, str]:
    """The pictures to measure on, and what to call them."""
    from muntin.data import open_data

    splits = open_data(place, val_share=0.0)
    if splits.val:
        return splits.val, "the data's own validation part"
    held_out = open_data(place, val_share=val_share, seed=split_seed).val if val_share else None
    if held_out:
        return held_out, f"held-out part (val_share {val_share:g}, split seed {split_seed})"
    return splits.train, "all"


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
    """The result for JSON: shares as fractions, top5 with more than five classes; null: a class without pictures.

    No confusion matrix with very many classes.
    """
    return {
        "samples": result.samples,
        "top1": result.top1,
        **({} if result.top5 is None else {"top5": result.top5}),
        "per_class": {name: None if math.isnan(r) else r for name, r in zip(classes, result.per_class)},
        **({} if result.confusion is None else {"confusion": result.confusion.tolist()}),
    }


def _mistake(result: TopKResult, k: int, classes: tuple[str, ...]) -> str:
    """What pictures of class k were most often taken for; empty where it is not known, or nothing."""
    if result.confusion is None:
        return ""
    row = result.confusion[k].tolist()
    row[k] = 0
    return f"{classes[row.index(max(row))]} ({max(row)})" if any(row) else ""


def _print(result: TopKResult, classes: tuple[str, ...], part: str, left_out: int) -> None:
    from rich.table import Table

    table = Table("class", box=None, header_style="bold")
    for title in ("pictures", "right", "recall %"):
        table.add_column(title, justify="right")
    table.add_column("most often taken for")
    for k, (name, recall) in enumerate(zip(classes, result.per_class)):
        share, right = ("", 0) if math.isnan(recall) else (f"{recall:.2%}"[:-1], round(recall * result.seen[k]))
        table.add_row(name, f"{result.seen[k]:,}", f"{right:,}", share, _mistake(result, k, classes))
    show(table)
    top5 = "" if result.top5 is None else f"  top-5 {result.top5:.2%}"
    bad = f"; {left_out:,} that cannot be read left out" if left_out else ""
    print(f"top-1 {result.top1:.2%}{top5}  on {result.samples:,} pictures: {part}{bad}")
