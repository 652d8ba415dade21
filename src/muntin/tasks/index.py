"""All tasks: what a recipe may choose, and what a model folder can answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from muntin.data import Inputs
from muntin.errors import unknown

from .classification import ClassificationChoice
from .distillation import DistillationChoice
from .simmim import SimMIMChoice
from .task import Models, Task, TaskChoice

CHOICES: dict[str, type[TaskChoice]] = {
    choice.kind: choice for choice in (ClassificationChoice, DistillationChoice, SimMIMChoice)
}


def kept(fields: Mapping[str, Any], models: Models, num_classes: int) -> nn.Module:
    """An empty module of the kind that a model folder of this task holds."""
    return _task(fields).kept(models, num_classes)


def for_answering(kept: nn.Module, fields: Mapping[str, Any], inputs: Inputs | None, classes: tuple[str, ...]) -> Task:
    """Make the task of a model folder, ready to answer. fields: as `Task.answering()` gave them.

    Raises UserError for an unknown kind, and for fields that the task does not have.
    """
    return _task(fields).for_answering(kept, fields, inputs, classes)


def _task(fields: Mapping[str, Any]) -> Any:
    kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in CHOICES:
        raise unknown("task", str(kind), CHOICES)
    return CHOICES[kind].task
