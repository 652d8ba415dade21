"""Measures: each counts on its own process and is summed over processes by adding its `state()`."""

from .heads import Heads as Heads
from .heads import HeadsResult as HeadsResult
from .topk import TopK as TopK
from .topk import TopKResult as TopKResult

__all__ = ["Heads", "HeadsResult", "TopK", "TopKResult"]
