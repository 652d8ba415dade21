"""`muntin data check PLACE`: says what is there and everything that is wrong with it, before a run."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from muntin.errors import UserError

from .arguments import Parser
from .screen import show

if TYPE_CHECKING:
    from muntin.data.checking.check import Findings, Spread

ROWS = 40  # of the table of classes, and of the list of files, on the screen; --json has all


def parser() -> Parser:
    options = Parser(
        "data",
        "Check pictures before training on them: layout, classes, sizes, files that cannot be read, copies. Every "
        "picture is decoded. Exit code 0: clean; 2: something must be put right.",
    )
    options.add_argument("action", choices=("check",), help="check: look, and change nothing")
    options.add_argument("place", metavar="DIR", help="folder, .csv of path,label, shards, or `digits`")
    options.add_argument("--json", action="store_true", help="print one JSON object with all that was found")
    options.add_argument(
        "--contact-sheet", metavar="FILE.html", type=Path, help="write a page with a few pictures of each class"
    )
    options.add_argument("--overwrite", action="store_true", help="replace the page of --contact-sheet")
    return options


def run(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    if sheet := given.contact_sheet:
        from .predict import check_target

        if sheet.suffix.lower() not in (".html", ".htm"):
            raise UserError(f"--contact-sheet writes a web page, and {sheet} is named otherwise; end it in .html")
        check_target("--contact-sheet", sheet, overwrite=given.overwrite)

    from muntin.data import check_data

    live = sys.stderr.isatty()
    findings = check_data(given.place, _show_progress if live else None)
    if live:
        print("\r\033[K", end="", file=sys.stderr)
    if sheet:
        from .contact_sheet import contact_sheet

        contact_sheet(given.place).write(sheet)
    if given.json:
        print(json.dumps(dataclasses.asdict(findings), indent=2))
    else:
        _print(findings)
        if sheet:
            print(f"a few pictures of each class: {sheet}")
    return 2 if findings.problems else 0


def _show_progress(done: int, total: int) -> None:
    if done % max(total // 100, 1) == 0:
        print(f"\r{done:,} of {total:,} pictures", end="", file=sys.stderr, flush=True)


def _print(found: Findings) -> None:
    from muntin.data.sources.listing import one_line

    print(f"{found.place}: {found.layout}; {found.pictures:,} pictures")
    _print_counts(found.counts)
    if found.width and found.height:
        print(f"pixels, smallest, median, largest: width {_range(found.width)}, height {_range(found.height)}")
        print("modes: " + ", ".join(f"{mode} {count:,}" for mode, count in found.modes.items()))
    print()
    for note in found.notes:
        print(one_line(f"  {note}"))
    for problem in found.problems:
        print(one_line(f"! {problem}"))
    for reason in list(found.unreadable.values())[:ROWS]:
        print(one_line(f"    {reason}"))
    if len(found.unreadable) > ROWS:
        print(f"    ... and {len(found.unreadable) - ROWS:,} more; --json has all")
    print(f"to be put right: {len(found.problems)}" if found.problems else "nothing to be put right")


def _range(spread: Spread) -> str:
    return f"{spread.min:,} {spread.median:,g} {spread.max:,}"


def _print_counts(counts: dict[str, dict[str, int]]) -> None:
    """Print one row for each class, one column for each split."""
    from rich.table import Table

    from muntin.data.sources.listing import one_line

    classes = sorted({name for split in counts.values() for name in split})
    if classes in ([], [""]) and len(counts) < 2:
        return
    table = Table("class", box=None, header_style="bold", pad_edge=False)
    for split in counts:
        table.add_column(split or "pictures", justify="right")
    for name in classes[:ROWS]:
        table.add_row(one_line(name), *(f"{split.get(name, 0):,}" for split in counts.values()))
    table.add_row(f"all {len(classes)}", *(f"{sum(split.values()):,}" for split in counts.values()), style="bold")
    show(table)
    if len(classes) > ROWS:
        print(f"... and {len(classes) - ROWS:,} more classes; --json has all")
