"""What a benchmark prints: a table in markdown, and a sentence on where and with what it was measured."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

INSTRUCTION_SETS = ("avx2", "avx512_f", "avx512_bf16", "amx_bf16", "sve", "bf16")  # those that decide a matmul's speed


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A markdown table whose columns also line up as plain text."""
    cells = [list(header), *([str(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["| " + " | ".join(text.ljust(width) for text, width in zip(row, widths)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def machine(threads: int) -> str:
    """Processor, instruction sets, threads used and version of torch; names no host and no user."""
    found = torch.cpu.get_capabilities()
    sets = ", ".join(name for name in INSTRUCTION_SETS if found.get(name)) or platform.machine()
    return f"{_processor()} ({sets}), {os.cpu_count()} cores, threads used: {threads}; {versions('torch')}"


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


def _processor() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
