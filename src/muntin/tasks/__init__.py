from .classification import LOSSES as LOSSES
from .classification import Classification as Classification
from .classification import ClassificationChoice as ClassificationChoice
from .classification import Classifier as Classifier
from .classification import Loss as Loss
from .distillation import Distillation as Distillation
from .distillation import DistillationChoice as DistillationChoice
from .distillation import Renormalised as Renormalised
from .distillation import hard_distillation as hard_distillation
from .distillation import soft_distillation as soft_distillation
from .index import CHOICES as CHOICES
from .index import TaskChoice as TaskChoice
from .masking import MaskGenerator as MaskGenerator
from .simmim import SimMIM as SimMIM
from .simmim import SimMIMChoice as SimMIMChoice

__all__ = [
    "CHOICES",
    "LOSSES",
    "Classification",
    "ClassificationChoice",
    "Classifier",
    "Distillation",
    "DistillationChoice",
    "Loss",
    "MaskGenerator",
    "Renormalised",
    "SimMIM",
    "SimMIMChoice",
    "TaskChoice",
    "hard_distillation",
    "soft_distillation",
]
