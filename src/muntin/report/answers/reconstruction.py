"""Pictures, their masks, and what a model fills in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from muntin.answers import Reconstruction
from muntin.data import Batch, Inputs, Source
from muntin.ops.local_norm import painted
from muntin.report import sections
from muntin.report.page import Page

MOST = 8  # samples


def add(page: Page, seen: Iterable[tuple[Batch, Reconstruction]], source: Source, task: Any, inputs: Inputs) -> None:
    """The pictures of the first batch."""
    _, answer = next(iter(seen))
    pixels = painted(answer.predicted, answer.image, answer.window)
    sections.reconstructions(page, answer.image, answer.pixel_mask, pixels, inputs.mean, inputs.std)
