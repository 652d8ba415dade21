"""Measures: each counts on its own process and is summed over processes by adding its `state()`."""

from .topk import TopK as TopK
from .topk import TopKResult as TopKResult
from .two_heads import Heads as Heads
from .two_heads import HeadsResult as HeadsResult

__all__ = ["Heads", "HeadsResult", "TopK", "TopKResult"]
