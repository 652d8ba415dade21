from .classification import Classification as Classification
from .classification import Classifier as Classifier
from .simmim import SimMIM as SimMIM

__all__ = ["Classification", "Classifier", "SimMIM"]
