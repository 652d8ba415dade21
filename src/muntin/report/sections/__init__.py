"""The sections of a report: each function takes a page and plain data, and adds itself."""

from .amplitude import amplitude as amplitude
from .attention import attention as attention
from .comparison import comparison as comparison
from .confusion import confusion as confusion
from .curves import curves as curves
from .position_bias import position_bias as position_bias
from .predictions import predictions as predictions
from .reconstructions import reconstructions as reconstructions
from .record import environment as environment
from .record import files as files
from .record import recipe as recipe
from .transfer import transfer as transfer

__all__ = [
    "amplitude",
    "attention",
    "comparison",
    "confusion",
    "curves",
    "environment",
    "files",
    "position_bias",
    "predictions",
    "recipe",
    "reconstructions",
    "transfer",
]
