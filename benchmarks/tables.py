"""What a benchmark prints: a table in markdown, and a sentence on where and with what it was measured."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from yardstick import yardstick


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A markdown table whose columns also line up as plain text."""
    cells = [list(header), *([str(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["| " + " | ".join(text.ljust(width) for text, width in zip(row, widths)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def machine(threads: int) -> str:
    """Processor, threads used, version of torch, and the yardstick, measured now; names no host and no user."""
    return f"{yardstick()}, {os.cpu_count()} cores, threads used: {threads}; {versions('torch')}"


def versions(*packages: str) -> str:
    """`timm 1.0, ...` of those that are installed."""
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def load() -> str:
    """Load average over the last minute: how busy the machine is with other work."""
    return f"{os.getloadavg()[0]:.1f}"


def publish(name: str, text: str, document: Path | None) -> None:
    """Print a result; with a document, also put it there between `<!-- name -->` and `<!-- end name -->`."""
    print("\n" + text)
    if document is None:
        return
    begin, end = f"<!-- {name} -->\n", f"<!-- end {name} -->"
    before, found_begin, rest = document.read_text(encoding="utf-8").partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise SystemExit(f"{document} has no lines '{begin.strip()}' and '{end}' to put the table between")
    document.write_text(f"{before}{begin}{text}\n{end}{after}", encoding="utf-8")
