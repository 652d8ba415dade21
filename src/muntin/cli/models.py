"""`muntin models [PATTERN]`: what can be created, how large it is, what its paper reports."""

from __future__ import annotations

import json

from .arguments import Parser


def parser() -> Parser:
    options = Parser("models", "List the models: parameters, multiply-adds, input size, published top-1.")
    options.add_argument("pattern", nargs="?", default="*", help='names to list, such as "swin_v2*" (default: all)')
    options.add_argument("--json", action="store_true", help="print one JSON list instead of a table")
    return options


def run(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    rows = describe(given.pattern)
    if given.json:
        print(json.dumps(rows, indent=2))
        return 0

    from rich.console import Console
    from rich.table import Table

    table = Table("model", box=None, header_style="bold")
    for title in ("parameters", "GMACs", "input", "top-1 %"):
        table.add_column(title, justify="right")
    for row in rows:
        height, width = row["image_size"]
        table.add_row(
            row["name"],
            f"{row['parameters'] / 1e6:,.1f} M",
            f"{row['multiply_adds'] / 1e9:,.1f}",
            f"{height} x {width}",
            "" if row["top1"] is None else f"{row['top1']:.1f}",
        )
    Console().print(table)
    print(
        "GMACs: 10^9 multiply-adds for one picture, the papers' FLOPs. top-1: ImageNet-1K, as published; muntin ships no weights."
    )
    return 0
