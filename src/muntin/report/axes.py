"""Where numbers fall on an axis, and which of them get a tick."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple


class Axis(NamedTuple):
    """One axis: `place` turns a value into 0..1 along it; `ticks` are the values to label."""

    place: Callable[[float], float]
    ticks: list[float]


def linear(values: Iterable[float], count: int = 5, low: float | None = None, high: float | None = None) -> Axis:
    """An axis over all finite values, ends moved out to round numbers; `low` and `high` fix an end."""
    known = [v for v in values if math.isfinite(v)] or [0.0, 1.0]
    first = min(known) if low is None else low
    last = max(known) if high is None else high
    if last - first < 1e-12 * max(1.0, abs(last)):
        room = abs(last) / 2 or 0.5  # one value alone stands in the middle
        first, last = first - (room if low is None else 0), last + room
    step = _round_step((last - first) / count)
    start = first if low is not None else math.floor(first / step + 1e-9) * step
    end = last if high is not None else math.ceil(last / step - 1e-9) * step
    begin = math.ceil(start / step - 1e-9)
    ticks = [k * step for k in range(begin, math.floor(end / step + 1e-9) + 1)]
    return Axis(lambda value: (value - start) / (end - start), ticks)


def logarithmic(values: Iterable[float]) -> Axis:
    """A log10 axis over all positive finite values; ticks at powers of ten, between them at 2 and 5 when few."""
    known = [v for v in values if math.isfinite(v) and v > 0] or [1.0, 10.0]
    low, high = math.log10(min(known)), math.log10(max(known))
    if high - low < 0.3:
        low, high = low - 0.15, high + 0.15
    pad = 0.03 * (high - low)
    low, high = low - pad, high + pad
    steps = [1, 2, 5] if high - low < 2.2 else [1]
    powers = range(math.floor(low), math.ceil(high) + 1, max(1, round((high - low) / 6)))
    ticks = [step * 10.0**power for power in powers for step in steps]
    return Axis(
        lambda value: (math.log10(value) - low) / (high - low) if value > 0 else math.nan,
        [tick for tick in ticks if low <= math.log10(tick) <= high],
    )


def _round_step(step: float) -> float:
    """The next of 1, 2, 2.5, 5, 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * nice for nice in (1, 2, 2.5, 5, 10) if power * nice >= step * (1 - 1e-9))
