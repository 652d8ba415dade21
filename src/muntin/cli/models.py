"""`muntin models [PATTERN]`: what can be created, how large it is, what its paper reports.

`muntin models --inspect FILE`: what a weights file, model folder, run or checkpoint is, and whether it is whole.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from muntin.errors import UserError, printable

from .arguments import Parser
from .screen import show

if TYPE_CHECKING:
    from muntin.weights.inspect import Inspection


def parser() -> Parser:
    options = Parser("models", "List the models: parameters, multiply-adds, input size, published top-1.")
    options.add_argument("pattern", nargs="?", default="*", help='names to list, such as "swin_v2*" (default: all)')
    options.add_argument("--inspect", metavar="FILE", help="say what this file, model folder, run or checkpoint is")
    options.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return options


def run(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    if given.inspect is not None:
        return _inspect(given.inspect, given.json)
    rows = describe(given.pattern)
    if not rows:
        raise UserError(
            f'no model fits "{given.pattern}"; quote patterns, such as "swin_v2*", or list all: muntin models'
        )
    if given.json:
        print(json.dumps(rows, indent=2))
        return 0

    from rich.table import Table

    sources = list(dict.fromkeys(row["source"] for row in rows if row["source"]))
    measured, noted = any(row["digits"] for row in rows), any(row["note"] for row in rows)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("model", no_wrap=True)
    for title in ("M param.", "GMACs", "input", "top-1 %"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("trained on", no_wrap=True)
    table.add_column("source", justify="right", no_wrap=True)
    if measured:
        table.add_column("digits %", justify="right", no_wrap=True)
    if noted:
        table.add_column("what changed" if measured else "note", no_wrap=True)
    for row in rows:
        height, width = row["image_size"]
        table.add_row(
            row["name"],
            f"{row['parameters'] / 1e6:,.1f}",
            f"{row['multiply_adds'] / 1e9:,.2f}",
            str(height) if height == width else f"{height}x{width}",
            "" if row["top1"] is None else f"{row['top1']:.1f}",
            row["trained_on"].replace("ImageNet-", ""),
            str(1 + sources.index(row["source"])) if row["source"] else "",
            *(["" if row["digits"] is None else f"{row['digits']:.1f}"] * measured + [row["note"]] * noted),
        )
    show(table, whole=True)
    print("GMACs: 10^9 multiply-adds a picture, the papers' FLOPs. top-1: as published, trained on that ImageNet.")
    if measured:
        print(
            "digits: top-1 of a small form on the built-in digits, mean of the seeds of benchmarks/roadmap_digits.py."
        )
    if sources:
        print("Sources:" + "".join(f"\n  {number}  {source}" for number, source in enumerate(sources, 1)))
    return 0


def _inspect(place: str, as_json: bool) -> int:
    """Print what is there; exit code 2 where it is damaged."""
    import dataclasses

    from muntin.weights.inspect import inspect

    seen = inspect(place)
    if as_json:
        print(json.dumps(dataclasses.asdict(seen), indent=2))
        return 2 if seen.damage else 0
    for line in _lines(seen):
        print(line)
    return 2 if seen.damage else 0


def _lines(seen: Inspection) -> list[str]:
    """What is known, a line each; then every damage."""
    fits = [seen.model or "", *seen.also]
    facts = {
        "layout": seen.layout or "none that muntin knows",
        "holds": f"{seen.kind or ''}{f', the backbone of {seen.wrapped_in}' if seen.wrapped_in else ''}",
        "family": seen.family,
        "model": " or ".join(fits) + (" (the file does not tell its windows)" if seen.also else ""),
        "differs in": ", ".join(f"{field} {value}" for field, value in seen.differs.items()),
        "depths": seen.depths,
        "channels": seen.dim,
        "heads": seen.heads,
        "windows": _sizes(seen.window),
        "bias trained with": _sizes(seen.pretrained_window),
        "input channels": seen.in_chans,
        "classes": f"{seen.num_classes}{_names(seen.classes)}" if seen.num_classes else seen.layout and "no head",
        "tensors": f"{seen.tensors:,} of {', '.join(seen.dtypes)}, {seen.parameters:,} numbers" if seen.dtypes else "",
        "bytes": f"{seen.bytes:,}",
        "checksum": seen.checksum,
    }
    lines = [seen.file] + [f"  {name:<18}{value}" for name, value in facts.items() if value]
    return lines + [f"damaged: {sentence}" for sentence in seen.damage]


def _sizes(windows: tuple[tuple[int, int], ...] | None) -> str:
    words = ["x".join(map(str, window)) for window in windows or ()]
    return words[0] if len(set(words)) == 1 else ", ".join(words)


def _names(classes: tuple[str, ...]) -> str:
    return f": {', '.join(map(printable, classes[:8]))}{', ...' if len(classes) > 8 else ''}" if classes else ""


def describe(pattern: str) -> list[dict[str, Any]]:
    """One dictionary for each model whose name fits; models are built without memory for their weights."""
    import torch

    from muntin import catalog
    from muntin.weights.create import create_model

    rows = []
    for name in catalog.list_models(pattern):
        entry = catalog.entry(name)
        with torch.device("meta"):
            model = create_model(name)
        rows.append(
            {
                "name": name,
                "parameters": sum(p.numel() for p in model.parameters()),
                "multiply_adds": catalog.multiply_adds(name),
                "image_size": list(entry.image_size),
                "top1": entry.top1,
                "trained_on": entry.trained_on,
                "source": entry.source,
                "note": entry.note,
                "digits": entry.digits,
            }
        )
    return rows
