"""Fair timing: contenders take turns in one process, and what counts is their ratio, not one run's absolute."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

Job = Callable[[], object]
Clock = Callable[[], float]


def interleave(
    jobs: Mapping[str, Job], *, rounds: int, warmup: int = 1, clock: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """Run every job once a round, A B C A B C ..., and return the seconds of each job, round by round.

    Each round begins with another job, so that nobody always follows the same neighbour. clock: seconds; on one
    thread `time.process_time` leaves out what other processes took of the core, on a GPU it has to wait for the device.
    """
    names = list(jobs)
    for name in names:
        for _ in range(warmup):
            jobs[name]()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            start = clock()
            jobs[name]()
            seconds[name].append(clock() - start)
    return seconds


class Ratio(NamedTuple):
    """How one job's time compares to another's; below 1 is faster."""

    of_minima: float
    median: float  # of the ratios inside each round
    lowest: float
    highest: float

    def __str__(self) -> str:
        return f"{self.of_minima:.2f} (rounds {self.median:.2f}, {self.lowest:.2f} to {self.highest:.2f})"


def compare(seconds: list[float], other: list[float]) -> Ratio:
    """The ratio of two jobs that were timed in the same rounds."""
    rounds = [a / b for a, b in zip(seconds, other, strict=True)]
    return Ratio(min(seconds) / min(other), statistics.median(rounds), min(rounds), max(rounds))


def milliseconds(seconds: list[float]) -> str:
    """Median and minimum, such as `1240 / 1198`."""
    return f"{1e3 * statistics.median(seconds):.4g} / {1e3 * min(seconds):.4g}"
