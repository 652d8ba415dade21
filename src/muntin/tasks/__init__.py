from .classification import LOSSES as LOSSES
from .classification import Classification as Classification
from .classification import Classifier as Classifier
from .distillation import Distillation as Distillation
from .distillation import Renormalised as Renormalised
from .distillation import hard_distillation as hard_distillation
from .distillation import soft_distillation as soft_distillation
from .simmim import SimMIM as SimMIM

__all__ = [
    "LOSSES",
    "Classification",
    "Classifier",
    "Distillation",
    "Renormalised",
    "SimMIM",
    "hard_distillation",
    "soft_distillation",
]
