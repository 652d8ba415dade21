"""`muntin models [PATTERN]`: what can be created, how large it is, what its paper reports."""

from __future__ import annotations

import json
from typing import Any

from muntin.errors import UserError

from .arguments import Parser


def parser() -> Parser:
    options = Parser("models", "List the models: parameters, multiply-adds, input size, published top-1.")
    options.add_argument("pattern", nargs="?", default="*", help='names to list, such as "swin_v2*" (default: all)')
    options.add_argument("--json", action="store_true", help="print one JSON list instead of a table")
    return options


def run(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    rows = describe(given.pattern)
    if not rows:
        raise UserError(
            f'no model fits "{given.pattern}"; quote patterns, such as "swin_v2*", or list all: muntin models'
        )
    if given.json:
        print(json.dumps(rows, indent=2))
        return 0

    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("model", no_wrap=True)
    for title in ("parameters", "GMACs", "input", "top-1 %"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("ImageNet", no_wrap=True)
    for row in rows:
        table.add_row(
            row["name"],
            f"{row['parameters'] / 1e6:,.1f} M",
            f"{row['multiply_adds'] / 1e9:,.1f}",
            " x ".join(map(str, row["image_size"])),
            "" if row["top1"] is None else f"{row['top1']:.1f}",
            row["trained_on"].replace("ImageNet-", ""),
        )
    Console().print(table)
    print("GMACs: 10^9 multiply-adds a picture, the papers' FLOPs. top-1: as published, trained on that ImageNet.")
    return 0


def describe(pattern: str) -> list[dict[str, Any]]:
    """One dictionary a model whose name fits; the models are built without memory for their weights."""
    import torch

    from muntin import catalog

    rows = []
    for name in catalog.list_models(pattern):
        entry = catalog.entry(name)
        with torch.device("meta"):
            model = catalog.create_model(name)
        rows.append(
            {
                "name": name,
                "parameters": sum(p.numel() for p in model.parameters()),
                "multiply_adds": catalog.multiply_adds(name),
                "image_size": list(entry.image_size),
                "top1": entry.top1,
                "trained_on": entry.trained_on,
            }
        )
    return rows
