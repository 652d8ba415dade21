"""Models by name with fresh weights: classifiers, images -> logits, and backbones, images -> levels."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn

from muntin.errors import UserError
from muntin.tasks import Classifier

from .names import build_config, entry


class Fresh(NamedTuple):
    """Makes models of one name with fresh weights: a `Models` of `tasks.task`."""

    name: str
    config: Mapping[str, Any] = {}

    def classifier(self, num_classes: int) -> Classifier:
        return build_classifier(self.name, num_classes, self.config)


def build_classifier(
    name: str, num_classes: int, config: Mapping[str, Any], drop_path_rate: float = 0.0, dropout: float = 0.0
) -> Classifier:
    """Build a classifier of the catalog, without weights; arguments and errors as for `muntin.create_model`."""
    if type(num_classes) is not int or num_classes < 0:
        raise UserError(f"num_classes is {num_classes!r}; it must be a whole number, 0 (features) or more")
    backbone = build_backbone(name, config, drop_path_rate, dropout)
    return Classifier(backbone, num_classes, entry(name).family.readout(backbone.config))  # type: ignore[arg-type]


def build_backbone(
    name: str, config: Mapping[str, Any], drop_path_rate: float = 0.0, dropout: float = 0.0
) -> nn.Module:
    """Build a backbone of the catalog with these fields of its config changed. Raises UserError for dropout that it
    does not have.
    """
    family, built = entry(name).family, build_config(name, config)
    if not dropout:
        return family.backbone(built, drop_path_rate)
    if "dropout" not in inspect.signature(family.backbone).parameters:
        raise UserError(f"{entry(name).name} has no dropout; leave dropout at 0, and use drop_path_rate")
    if not 0.0 <= dropout < 1.0:
        raise UserError(f"dropout is {dropout}; it must be a chance in [0, 1)")
    return family.backbone(built, drop_path_rate, dropout)
