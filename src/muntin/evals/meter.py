"""The contract of every measure: it counts on its own process and is merged over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol


class Measured(NamedTuple):
    """The result of a measure."""

    numbers: dict[str, float]  # by the names of metrics.jsonl
    samples: int  # that they are about
    details: Any  # what a page or a table shows beside them, of a type of the measure's own


class Meter(Protocol):
    """Every process feeds its own samples to `update`. After `merge` of all states, each process holds the counts of
    all.
    """

    def update(self, answer: Any, batch: Any) -> None:
        """Count what a task answered to a batch."""

    def state(self) -> Any:
        """All counts so far, to be sent to other processes."""

    def merge(self, states: Sequence[Any]) -> None:
        """Replace the counts by the sum over all processes; their states include this one's."""

    def result(self) -> Measured:
        """The counts as metrics. Raises UserError if nothing was counted."""
