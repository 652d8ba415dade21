"""Measures: each counts on its own process and is summed over processes by adding its `state()`."""

from .topk import TopK as TopK
from .topk import TopKResult as TopKResult

__all__ = ["TopK", "TopKResult"]
