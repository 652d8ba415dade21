"""Names to models: plain imports, a plain dictionary.

`create_model` gives a module images -> logits, `create_backbone` one images -> levels. Short names are canonical;
the names of the official configs, timm, torchvision and transformers are accepted.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from muntin.errors import UserError, unknown
from muntin.models import Swin, SwinConfig, SwinV2
from muntin.models.swin import VARIANTS as SWIN
from muntin.models.swin import effective_windows
from muntin.models.swin_v2 import VARIANTS as SWIN_V2
from muntin.models.swin_v2 import SwinV2Config
from muntin.ops.grouping import Size
from muntin.tasks import Classifier
from muntin.weights import LoadReport, Resize, load_backbone, load_weights

logger = logging.getLogger("muntin")  # quiet unless asked: what became of every tensor of a weights file


class Entry(NamedTuple):
    """What the catalog knows of one name."""

    name: str
    family: type[Swin]
    config: SwinConfig
    image_size: tuple[int, int]  # pixels of its published training
    top1: float | None  # published ImageNet-1K accuracy in %, None where no such number exists
    trained_on: str  # what that number was trained on


def _entry(name: str, side: int, top1: float | None = None, trained_on: str = "ImageNet-1K") -> Entry:
    family, config = (SwinV2, SWIN_V2[name]) if name in SWIN_V2 else (Swin, SWIN[name])
    return Entry(name, family, config, (side, side), top1, trained_on if top1 else "")


CATALOG: dict[str, Entry] = {  # image sizes and numbers: result tables of the official repository
    entry.name: entry
    for entry in (
        _entry("swin_tiny", 224, 81.2),
        _entry("swin_tiny_c24", 256, 81.6),
        _entry("swin_small", 224, 83.2),
        _entry("swin_base", 224, 83.5),
        _entry("swin_base_window12", 384, 84.5),
        _entry("swin_large", 224, 86.3, "ImageNet-22K, then 1K"),
        _entry("swin_large_window12", 384, 87.3, "ImageNet-22K, then 1K"),
        _entry("swin_v2_tiny_window8", 256, 81.8),
        _entry("swin_v2_tiny_window16", 256, 82.8),
        _entry("swin_v2_small_window8", 256, 83.7),
        _entry("swin_v2_small_window16", 256, 84.1),
        _entry("swin_v2_base_window8", 256, 84.2),
        _entry("swin_v2_base_window16", 256, 84.6),
        _entry("swin_v2_base_window12", 192),
        _entry("swin_v2_base_window12to16", 256, 86.2, "ImageNet-22K, then 1K"),
        _entry("swin_v2_base_window12to24", 384, 87.1, "ImageNet-22K, then 1K"),
        _entry("swin_v2_large_window12", 192),
        _entry("swin_v2_large_window12to16", 256, 86.9, "ImageNet-22K, then 1K"),
        _entry("swin_v2_large_window12to24", 384, 87.6, "ImageNet-22K, then 1K"),
        _entry("swin_v2_huge_window12", 192),
        _entry("swin_v2_giant_window12", 192),
        _entry("swin_v2_g_window12", 192),
    )
}

ALIASES = {  # other projects' names, normalised by `_plain`
    "swin_t": "swin_tiny",
    "swin_s": "swin_small",
    "swin_b": "swin_base",
    "swin_v2_t": "swin_v2_tiny_window8",
    "swin_v2_s": "swin_v2_small_window8",
    "swin_v2_b": "swin_v2_base_window8",
    "swin_tiny_patch4_window7_224": "swin_tiny",
    "swin_tiny_c24_patch4_window8_256": "swin_tiny_c24",
    "swin_small_patch4_window7_224": "swin_small",
    "swin_base_patch4_window7_224": "swin_base",
    "swin_base_patch4_window12_384": "swin_base_window12",
    "swin_large_patch4_window7_224": "swin_large",
    "swin_large_patch4_window12_384": "swin_large_window12",
    "swinv2_tiny_window8_256": "swin_v2_tiny_window8",
    "swinv2_tiny_window16_256": "swin_v2_tiny_window16",
    "swinv2_small_window8_256": "swin_v2_small_window8",
    "swinv2_small_window16_256": "swin_v2_small_window16",
    "swinv2_base_window8_256": "swin_v2_base_window8",
    "swinv2_base_window16_256": "swin_v2_base_window16",
    "swinv2_base_window12_192": "swin_v2_base_window12",
    "swinv2_base_window12to16_192to256": "swin_v2_base_window12to16",
    "swinv2_base_window12to24_192to384": "swin_v2_base_window12to24",
    "swinv2_large_window12_192": "swin_v2_large_window12",
    "swinv2_large_window12to16_192to256": "swin_v2_large_window12to16",
    "swinv2_large_window12to24_192to384": "swin_v2_large_window12to24",
}


def list_models(pattern: str = "*") -> list[str]:
    """Canonical names that fit a shell pattern, in the order of the catalog."""
    return [name for name in CATALOG if fnmatch.fnmatch(name, pattern)]


def entry(name: str) -> Entry:
    """The entry of a canonical or foreign name. Raises UserError that names the nearest for an unknown one."""
    if not isinstance(name, str):
        raise UserError(f"a model is asked for by its name, not by {name!r}")
    plain = _plain(name)
    if found := CATALOG.get(ALIASES.get(plain, plain)):
        return found
    spelt = re.sub(r"^swin_?v?2_?", "swin_v2_", plain)
    raise unknown("model", name, CATALOG, 'list: muntin models "swin*"', spelt)


def create_model(
    name: str,
    *,
    num_classes: int = 1000,
    weights: str | Path | None = None,
    resize: Resize = "",
    drop_path_rate: float = 0.0,
    **config: Any,
) -> Classifier:
    """A classifier, images (B, C, H, W) -> logits (B, num_classes); pooled features (B, C) when num_classes is 0.

    weights: a .safetensors or .pth file (in any layout of `convert.swin`), a model folder or a run folder; every tensor
    must find its place. resize: "auto" makes weights of another window, resolution or number of input channels fit, see
    `weights.load_weights`. config: any field of the model's config, such as `window=(16, 16)` or `in_chans=1`.
    Raises UserError for unknown names and fields and for weights that do not fit.
    """
    if not isinstance(num_classes, int) or num_classes < 0:
        raise UserError(f"num_classes is {num_classes!r}; it must be a whole number, 0 (features) or more")
    model = Classifier(_backbone(name, drop_path_rate, config), num_classes)
    if weights is not None:
        scale = variant_windows(name, config)
        _log(weights, model.backbone, load_weights(model, weights, resize=resize, assume_scale=scale))
    return model


def create_backbone(
    name: str, *, weights: str | Path | None = None, resize: Resize = "", drop_path_rate: float = 0.0, **config: Any
) -> Swin:
    """A backbone, images -> `Features` with one (B, C_i, H_i, W_i) a level; maps smaller than a window are padded.

    Arguments as `create_model`; a head in the weights is left aside.
    """
    config = {"small_map": "keep", **config}
    backbone = _backbone(name, drop_path_rate, config)
    if weights is not None:
        scale = variant_windows(name, config)
        _log(weights, backbone, load_backbone(backbone, weights, resize=resize, assume_scale=scale))
    return backbone


def build_config(name: str, overrides: Mapping[str, Any]) -> SwinConfig:
    """The config of a name with some fields replaced; a number stands for a square window, patch or grid."""
    base = entry(name).config
    fields = {f.name: getattr(base, f.name) for f in dataclasses.fields(base)}
    for key in overrides:
        if key not in fields:
            raise unknown(f"field of {entry(name).name}", key, fields)
    square = {"window", "patch", "absolute_position"}
    axes = len(base.patch)
    values = {k: as_size(v, axes) if k in square else _tuples(v) for k, v in overrides.items()}
    if scales := values.get("pretrained_window"):
        values["pretrained_window"] = tuple(as_size(w, axes) for w in scales) if isinstance(scales, tuple) else scales
    return dataclasses.replace(base, **values)


def variant_windows(name: str, overrides: Mapping[str, Any]) -> tuple[Size, ...] | None:
    """The windows, one a stage, that a V2 variant really used in its published training; None for other families.

    Weights under this name that do not tell the scale of their position bias were most likely trained with these, also
    where a model uses other windows or pads small maps.
    """
    kept = {key: value for key, value in overrides.items() if key not in ("window", "small_map")}
    config = build_config(name, kept)
    return effective_windows(config, entry(name).image_size) if isinstance(config, SwinV2Config) else None


def multiply_adds(name: str, image_size: tuple[int, int] | None = None) -> int:
    """Multiply-adds of one picture through a classifier.

    Papers print them as FLOPs; PyTorch's counter gives twice as many.
    The small network of the continuous position bias is left out, as in the official count.
    """
    from torch.utils.flop_counter import FlopCounterMode

    found = entry(name)
    depths = found.config.depths
    shallow = dataclasses.replace(found.config, depths=(1,) * len(depths))  # blocks of a stage cost the same
    with torch.device("meta"):
        model = Classifier(found.family(shallow), 1000)
        picture = torch.empty(1, shallow.in_chans, *(image_size or found.image_size))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(picture)
    flops = {module: sum(ops.values()) for module, ops in counter.get_flop_counts().items()}

    def cost(part: str) -> int:
        """FLOPs of a module without its position bias."""
        return flops[part] - sum(n for m, n in flops.items() if m.startswith(part) and m.endswith(".position"))

    more = sum((depth - 1) * cost(f"Classifier.backbone.stages.{i}.0") for i, depth in enumerate(depths))
    return (cost("Classifier") + more) // 2


def _backbone(name: str, drop_path_rate: float, config: Mapping[str, Any]) -> Swin:
    return entry(name).family(build_config(name, config), drop_path_rate)


def _log(weights: str | Path, backbone: object, report: LoadReport) -> None:
    """A warning where a position bias got a scale, other than the windows in use, that had to be assumed."""
    guessed = any("assumed" in note for note in report.notes) and isinstance(backbone, SwinV2) and backbone.scale()
    logger.log(logging.WARNING if guessed else logging.INFO, "%s: %s", weights, report)


def as_size(value: Any, axes: int) -> Any:
    """A whole number as a square, lists as tuples; anything else is left for the model to refuse."""
    return (value,) * axes if type(value) is int else _tuples(value)


def _tuples(value: Any) -> Any:
    """Lists, as JSON has them, to tuples."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value


def _plain(name: str) -> str:
    """A foreign name without owner, weight tag and training suffixes, in our spelling."""
    plain = name.rsplit("/", 1)[-1].split(".", 1)[0].replace("-", "_").lower()
    plain = re.sub(r"_(22k|in22k|22kto1k|ft|finetune|1k)+$", "", re.sub(r"_22kto1k(_ft|_finetune)?$", "", plain))
    return plain.replace("_patch4", "") if plain.startswith("swinv2_") else plain
