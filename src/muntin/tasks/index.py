"""Every task there is: what a recipe may choose."""

from __future__ import annotations

from .classification import ClassificationChoice
from .distillation import DistillationChoice
from .simmim import SimMIMChoice

TaskChoice = ClassificationChoice | DistillationChoice | SimMIMChoice

CHOICES: dict[str, type[TaskChoice]] = {
    choice.kind: choice for choice in (ClassificationChoice, DistillationChoice, SimMIMChoice)
}
