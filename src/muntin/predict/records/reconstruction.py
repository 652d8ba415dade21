"""Reconstructions as records: how much was hidden, and how far the predicted pixels are from the hidden ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from muntin.answers import Reconstruction
from muntin.evals import Measured
from muntin.ops.local_norm import normalise_locally

COLUMNS = (("hidden %", "right"), ("mean error", "right"))


@dataclass(frozen=True, kw_only=True)
class Painted:
    """What a model filled in for one picture."""

    file: str
    hidden: float  # share of the pixels, in [0, 1]
    error: float  # mean distance to the target over the hidden pixels, as the loss counts it

    def record(self) -> dict[str, Any]:
        """As a plain dictionary, ready for JSON."""
        return {"file": self.file, "hidden": self.hidden, "error": self.error}


def read(answer: Reconstruction, names: Sequence[str], classes: Sequence[str], top: int) -> list[Painted]:
    """One record a sample."""
    image, mask = answer.image.float(), answer.pixel_mask
    target = normalise_locally(image, answer.window) if answer.window else image
    distance = ((answer.predicted - target).abs() * mask).mean(1).flatten(1).sum(1) / mask.flatten(1).sum(1)
    hidden = mask.flatten(1).mean(1)
    return [Painted(file=n, hidden=h, error=e) for n, h, e in zip(names, hidden.tolist(), distance.tolist())]


def cells(painted: Painted) -> list[str]:
    """Under `COLUMNS`."""
    return [f"{100 * painted.hidden:.0f}", f"{painted.error:.4f}"]


def csv_rows(painted: Sequence[Painted]) -> list[list[str]]:
    """Columns file, hidden, error."""
    return [["file", "hidden", "error"], *([p.file, f"{p.hidden:.6f}", f"{p.error:.6f}"] for p in painted)]


def measured_record(measured: Measured, classes: Sequence[str]) -> dict[str, Any]:
    """For JSON."""
    return {"samples": measured.samples, **measured.numbers}


def measured_table(measured: Measured, classes: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """An empty table: nothing is listed sample by sample or class by class."""
    return [], []


def measured_words(measured: Measured) -> str:
    """The result in a few words."""
    return f"loss on hidden pixels {measured.numbers['loss']:.4f}"
