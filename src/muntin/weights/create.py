"""Models by name: classifiers, images -> logits, and backbones, images -> levels."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from muntin.catalog import build_backbone, build_classifier, build_config, entry
from muntin.tasks import Classifier

from .load import LoadReport, Resize, load_backbone, load_weights

logger = logging.getLogger("muntin")  # quiet unless asked: what became of every tensor of a weights file


def create_model(
    name: str,
    *,
    num_classes: int = 1000,
    weights: str | Path | None = None,
    resize: Resize = "",
    drop_path_rate: float = 0.0,
    dropout: float = 0.0,
    **config: Any,
) -> Classifier:
    """A classifier, images (B, C, H, W) -> logits (B, num_classes); pooled features (B, C) when num_classes is 0.

    weights: a .safetensors, .pth or .npz file in any layout of `convert`, a model folder or a run folder; every tensor
    must find its place. resize: "auto" makes weights of another window, resolution or number of input channels fit, see
    `weights.load_weights`. drop_path_rate, dropout: while training; not every family has dropout.
    config: any field of the model's config, such as `window=(16, 16)` or `in_chans=1`.
    Raises UserError for unknown names and fields and for weights that do not fit.
    """
    model = build_classifier(name, num_classes, config, drop_path_rate, dropout)
    if weights is not None:
        built, assumed = model.backbone.config, as_published(name, config)
        report = load_weights(model, weights, resize=resize, assumed=assumed)
        _log(weights, report, changed=model.backbone.config != built)
    return model


def create_backbone(
    name: str,
    *,
    weights: str | Path | None = None,
    resize: Resize = "",
    drop_path_rate: float = 0.0,
    dropout: float = 0.0,
    **config: Any,
) -> nn.Module:
    """A backbone, images -> `Features` with one (B, C_i, H_i, W_i) a level, see `models.Backbone`.

    Arguments as `create_model`; a head in the weights is left aside. Where a family's official dense backbones differ
    from its classifiers (Swin pads maps smaller than a window), it is a dense one.
    """
    config = {**entry(name).family.dense, **config}
    backbone = build_backbone(name, config, drop_path_rate, dropout)
    if weights is not None:
        built, assumed = backbone.config, as_published(name, config)
        report = load_backbone(backbone, weights, resize=resize, assumed=assumed)
        _log(weights, report, changed=backbone.config != built)
    return backbone


def as_published(name: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """What the published training of a variant fixed, such as the scale of a position bias.

    Weights under this name that do not tell it most likely have it, even if the model is used otherwise than it was
    trained.
    """
    known = entry(name)
    config = build_config(name, {k: v for k, v in overrides.items() if k not in known.family.in_use})
    return known.family.trained(config, known.image_size)


def _log(weights: str | Path, report: LoadReport, changed: bool) -> None:
    """Log a warning if the model now computes with a setting that was assumed."""
    guessed = changed and any("assumed" in note for note in report.notes)
    logger.log(logging.WARNING if guessed else logging.INFO, "%s: %s", weights, report)
