"""The account of a load: what became of every tensor, and why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple


class LoadReport(NamedTuple):
    """Name -> reason of every tensor of a file and of the model it was loaded into.

    `str(report)` is one line, `report.table()` one line a group of tensors.
    """

    layout: str  # that the file was read in, one of `formats.layout.Files.layouts`
    taken: dict[str, str]  # as they are in the file
    resized: dict[str, str]  # made for the model's window, resolution, input channels or chosen classes
    remade: dict[str, str]  # of the file, under its own names: follow from sizes, computed here
    dropped: dict[str, str]  # of the file: left aside
    reinitialised: dict[str, str]  # of the model: not in the file, or not to be taken from it
    notes: tuple[str, ...] = ()  # what is no tensor, such as the scale of a position bias

    def __str__(self) -> str:
        parts = [f"{len(self.taken)} tensors taken"]
        for fate, tensors in self._fates():
            if tensors and fate != "taken":
                parts.append(f"{len(tensors)} {fate} ({'; '.join(dict.fromkeys(tensors.values()))})")
        return "; ".join([f"{self.layout} layout: {', '.join(parts)}", *self.notes])

    def table(self) -> str:
        """One line for every group of tensors with the same fate for the same reason, aligned; then the notes."""
        rows = [row for fate, tensors in self._fates() for row in _rows(fate, tensors)]
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
        lines = ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[3]]) for row in rows]
        return "\n".join(line.rstrip() for line in [*lines, *self.notes])

    def _fates(self) -> Iterable[tuple[str, dict[str, str]]]:
        return ((fate, getattr(self, fate)) for fate in ("taken", "resized", "remade", "dropped", "reinitialised"))


def _rows(fate: str, tensors: dict[str, str]) -> list[tuple[str, str, str, str]]:
    pattern = {"taken": _part, "dropped": _part, "remade": _kind}.get(fate, _kind_in_stage)
    groups = Counter((pattern(name), why) for name, why in tensors.items())
    return [(f"{name}", f"{n} tensor{'s' * (n > 1)}", fate, why) for (name, why), n in groups.items()]


def _part(name: str) -> str:
    """The part of the model that a tensor belongs to: backbone.stages.2.*"""
    found = re.match(r"[^.]+\.[^.]+\.(\d+\.)?(?=.)|[^.]+\.(?=.)", name)
    return f"{found[0]}*" if found else name


def _kind(name: str) -> str:
    """The same tensor of all stages and blocks: layers.*.blocks.*.attn.relative_position_index"""
    return re.sub(r"\d+", "*", name)


def _kind_in_stage(name: str) -> str:
    """The same tensor of all blocks of a stage: backbone.stages.2.*.mix.position.table"""
    return re.sub(r"(?<=\bstages\.)(\d+)\.\d+\.", r"\1.*.", name)
