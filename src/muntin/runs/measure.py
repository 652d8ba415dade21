"""How good a task is on held-out samples, over all processes."""

from __future__ import annotations

from torch import nn

from muntin.data import Loader
from muntin.engine.evaluate import evaluate


def measure(task: nn.Module, val: Loader) -> dict[str, float]:
    """The metrics of the task's own meter; each sample counts once.

    "left_out" is the number of samples that cannot be read, if there are some.
    """
    measured = evaluate(task, val)
    left_out = len(val.source) - measured.samples
    return measured.numbers | ({"left_out": left_out} if left_out else {})
