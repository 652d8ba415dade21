"""`muntin eval RUN_OR_MODEL --data PLACE`: how good a trained model is, each picture counted once.

Where the data has no validation part of its own, eval measures the part that the run held out: recipe.json says how it
was drawn. Pictures that the model was trained on would give too good a result. The whole held-out part counts, even if
`data.limit` made the run use only some of it.
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

from muntin.errors import UserError

from .arguments import Parser, not_negative, positive, share
from .screen import show

if TYPE_CHECKING:
    from muntin.data import Source


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

    from muntin.data import Loader
    from muntin.engine import autocast, parallel
    from muntin.engine.evaluate import evaluate
    from muntin.predict import records
    from muntin.recipes.recipe import DataChoice
    from muntin.tasks.index import CHOICES, for_answering
    from muntin.weights.folder import load_model

    saved = load_model(given.model)
    inputs, asked = saved.fed(), saved.answering()
    task: Any = for_answering(saved.model, asked, inputs, saved.classes)
    val_share, split_seed = 0.0 if given.all else given.val_share, given.split_seed
    if val_share is None or split_seed is None:
        own_share, own_seed = own_split(given.model)
        val_share = own_share if val_share is None else val_share
        split_seed = own_seed if split_seed is None else split_seed
    labelled = CHOICES[asked["kind"]].labelled
    source, part = part_of(given.data, val_share, split_seed, labelled=labelled)
    if labelled:
        check_classes(saved.classes, source.classes, given.model, given.data)
    device = parallel.setup()
    loader = Loader(
        source,
        inputs.eval_transform(),
        prepare=task.prepare,
        collate=task.collate,
        batch_size=given.batch_size,
        workers=given.workers,
        rank=parallel.rank(),
        world=parallel.world(),
        bad_share=DataChoice.bad_share if given.bad_share is None else given.bad_share,
    )
    with autocast(device, given.precision), contextlib.redirect_stdout(sys.stderr):  # where bad files are named
        measured = evaluate(task.to(device), loader)
    kind, left_out = records.of(task.answers), len(source) - measured.samples
    if parallel.rank() == 0:
        if given.json:
            record = kind.measured_record(measured, task.classes)
            print(json.dumps({"part": part, "left_out": left_out} | record, indent=2))
        else:
            _print(*kind.measured_table(measured, task.classes))
            bad = f"; {left_out:,} that cannot be read left out" if left_out else ""
            print(f"{kind.measured_words(measured)}  on {measured.samples:,} pictures: {part}{bad}")
    parallel.cleanup()
    return 0


def own_split(model: str) -> tuple[float, int]:
    """val_share and split_seed of the run that a model belongs to; without a run, those of `DataChoice`."""
    from muntin.recipes import read_recipe
    from muntin.recipes.recipe import DataChoice
    from muntin.weights.load import weights_file

    for folder in weights_file(model).resolve().parents[:4]:  # RUN/checkpoints/best/model is the deepest
        if (folder / "recipe.json").is_file():
            data = read_recipe(folder).data
            return data.val_share, data.split_seed
    return DataChoice.val_share, DataChoice.split_seed


def part_of(place: str, val_share: float, split_seed: int, *, labelled: bool = True) -> tuple[Source, str]:
    """The pictures to measure on, and the name of this part."""
    from muntin.data import open_data

    splits = open_data(place, labelled=labelled, val_share=0.0)
    if splits.val:
        return splits.val, "the data's own validation part"
    held_out = open_data(place, labelled=labelled, val_share=val_share, seed=split_seed).val if val_share else None
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


def _print(titles: list[str], rows: list[list[str]]) -> None:
    from rich.table import Table

    if not rows:
        return
    table = Table(box=None, header_style="bold")
    for title in titles:
        table.add_column(title, justify="left" if title in (titles[0], titles[-1]) else "right")
    for row in rows:
        table.add_row(*row)
    show(table)
