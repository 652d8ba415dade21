"""`muntin predict RUN_or_MODEL FILES...`: answers about pictures, as a table, JSON lines, CSV, or drawn on copies."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from muntin.errors import UserError

from .arguments import Parser, positive
from .screen import show

if TYPE_CHECKING:
    from muntin.predict import Predictions

ROWS = 50  # of the table on the screen; JSON and CSV have all


def parser() -> Parser:
    options = Parser("predict", "Name what is on pictures. Files that are no pictures are skipped and listed.")
    options.add_argument("model", help="run folder, or its model/ folder")
    options.add_argument("files", nargs="+", help="files, folders, globs, or `digits`: the built-in held-out digits")
    options.add_argument("--top", type=positive, default=5, help="labels a picture (default: 5)")
    options.add_argument("--json", metavar="FILE", help="write JSON lines; - for standard output instead of the table")
    options.add_argument("--csv", metavar="FILE", type=Path, help="write a table for spreadsheets")
    options.add_argument(
        "--save", metavar="DIR", type=Path, help="write each picture with its label and score below it"
    )
    options.add_argument("--overwrite", action="store_true", help="replace what --json, --csv and --save wrote before")
    options.add_argument("--batch-size", type=positive, default=32, help="pictures a step (default: 32)")
    return options


def run(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    json_file = Path(given.json) if given.json and given.json != "-" else None
    for option, place in (("--json", json_file), ("--csv", given.csv), ("--save", given.save)):
        if place:
            check_target(option, place, overwrite=given.overwrite)

    from muntin.engine import parallel
    from muntin.predict import Predictor, write_csv, write_jsonl

    predictor = Predictor.load(given.model, device=parallel.setup())
    answer = predictor.predict(given.files, top=given.top, batch_size=given.batch_size, save=given.save)
    for why in answer.skipped.values():
        print(f"muntin: skipped: {why}", file=sys.stderr)
    if not answer.found:
        raise UserError(f"not one of {len(answer.skipped)} files is a picture")
    for file in filter(None, (given.csv, json_file)):
        file.parent.mkdir(parents=True, exist_ok=True)
    if given.csv:
        with given.csv.open("w", encoding="utf-8", newline="") as file:
            write_csv(answer.kind, answer.found, file)
    if json_file:
        with json_file.open("w", encoding="utf-8") as file:
            write_jsonl(answer.found, file)
    if given.json == "-":
        write_jsonl(answer.found, sys.stdout)
    else:
        _print(answer)
    return 0


def check_target(option: str, place: Path, *, overwrite: bool) -> None:
    """Raise UserError if muntin cannot write at `place` what `option` asks for. Changes nothing."""
    is_folder = option == "--save"
    if place.exists():
        if place.is_dir() != is_folder:
            wants, has = ("folder", "file") if is_folder else ("file", "folder")
            raise UserError(f"{option} writes a {wants}, and {place} is a {has}; choose another name")
        if not overwrite:
            raise UserError(f"{place} exists; choose another name, or replace it with --overwrite")
        nearest = place
    else:
        nearest = next(folder for folder in place.absolute().parents if folder.exists())
        if not nearest.is_dir():
            raise UserError(f"{option} {place} cannot be made: {nearest} is a file; choose another name")
    if not os.access(nearest, os.W_OK):
        raise UserError(f"{option} {place} cannot be written: no permission to change {nearest}; choose another name")


def _print(answer: Predictions) -> None:
    from rich.table import Table

    from muntin.predict import records

    kind = records.of(answer.kind)
    table = Table("picture", box=None, header_style="bold")
    for title, side in kind.COLUMNS:
        table.add_column(title, justify=side)
    for record in answer.found[:ROWS]:
        table.add_row(record.file, *kind.cells(record))
    show(table)
    if len(answer.found) > ROWS:
        print(f"... and {len(answer.found) - ROWS:,} more; --json FILE or --csv FILE writes all")
