"""What a report shows of a task's answers: one file a kind of answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from muntin.data import Batch, Inputs, Source
from muntin.report.page import Page

from . import classes, reconstruction

_KINDS: dict[str, Any] = {"classes": classes, "reconstruction": reconstruction}


def most(kind: str) -> int:
    """How many samples the sections of this kind of answer use."""
    return _KINDS[kind].MOST


def add(page: Page, kind: str, seen: Iterable[tuple[Batch, Any]], source: Source, task: Any, inputs: Inputs) -> None:
    """Add the sections of this kind of answer. seen: batches of `source` with the task's answers to them."""
    _KINDS[kind].add(page, seen, source, task, inputs)
