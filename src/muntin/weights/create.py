"""Models by name: classifiers, images -> logits, and backbones, images -> levels."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from muntin.catalog.build import build_backbone, build_classifier
from muntin.catalog.names import build_config, entry
from muntin.models import SwinV2
from muntin.models.swin import effective_windows
from muntin.models.swin_v2 import SwinV2Config
from muntin.ops.windows import Size
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
        scale = variant_windows(name, config)
        _log(weights, model.backbone, load_weights(model, weights, resize=resize, assume_scale=scale))
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
        scale = variant_windows(name, config)
        _log(weights, backbone, load_backbone(backbone, weights, resize=resize, assume_scale=scale))
    return backbone


def variant_windows(name: str, overrides: Mapping[str, Any]) -> tuple[Size, ...] | None:
    """The windows, one a stage, that a V2 variant really used in its published training; None for other families.

    Weights under this name that do not tell the scale of their position bias were most likely trained with these, also
    where a model uses other windows or pads small maps.
    """
    kept = {key: value for key, value in overrides.items() if key not in ("window", "small_map")}
    config = build_config(name, kept)
    return effective_windows(config, entry(name).image_size) if isinstance(config, SwinV2Config) else None


def _log(weights: str | Path, backbone: object, report: LoadReport) -> None:
    """A warning where a position bias got a scale, other than the windows in use, that had to be assumed."""
    guessed = any("assumed" in note for note in report.notes) and isinstance(backbone, SwinV2) and backbone.scale()
    logger.log(logging.WARNING if guessed else logging.INFO, "%s: %s", weights, report)
