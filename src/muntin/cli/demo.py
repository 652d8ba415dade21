"""`muntin demo`: the whole story on bundled data, from pictures without labels to a report."""

from __future__ import annotations

from pathlib import Path

from .arguments import Parser


def parser() -> Parser:
    options = Parser("demo", "Pre-train, fine-tune, transfer and report a small Swin V2 on 5,000 bundled digits.")
    options.add_argument("--out", type=Path, default=Path("runs/demo"), help="run folder (default: runs/demo)")
    options.add_argument("--overwrite", action="store_true", help="replace the run folder if it exists")
    return options


def run(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)

    from muntin.runs.demo import run_demo

    run_demo(given.out, overwrite=given.overwrite)
    return 0
