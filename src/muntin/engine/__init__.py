"""Training: optimizer, schedule, loop, processes, checkpoints, logs. Standard PyTorch underneath."""

from muntin.engine.device import to_device as to_device
from muntin.engine.ema import Ema as Ema
from muntin.engine.environment import environment as environment
from muntin.engine.freeze import freeze as freeze
from muntin.engine.loop import FitResult as FitResult
from muntin.engine.loop import fit as fit
from muntin.engine.optim import Optim as Optim
from muntin.engine.optim import build_optimizer as build_optimizer
from muntin.engine.optim import parameter_groups as parameter_groups
from muntin.engine.precision import autocast as autocast
from muntin.engine.precision import has_bf16 as has_bf16
from muntin.engine.schedule import Schedule as Schedule
from muntin.engine.settings import Training as Training

__all__ = [
    "Ema",
    "FitResult",
    "Optim",
    "Schedule",
    "Training",
    "autocast",
    "build_optimizer",
    "environment",
    "fit",
    "freeze",
    "has_bf16",
    "parameter_groups",
    "to_device",
]
