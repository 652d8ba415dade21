"""Measures: each counts on its own process and is merged over all of them."""

from .classes import ClassesMeter as ClassesMeter
from .meter import Measured as Measured
from .meter import Meter as Meter
from .reconstruction import ReconstructionMeter as ReconstructionMeter
from .topk import TopK as TopK
from .topk import TopKResult as TopKResult
from .two_heads import Heads as Heads
from .two_heads import HeadsResult as HeadsResult

__all__ = ["ClassesMeter", "Heads", "HeadsResult", "Measured", "Meter", "ReconstructionMeter", "TopK", "TopKResult"]
