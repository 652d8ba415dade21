"""Swin Transformer and Swin Transformer V2 in the catalog.

Training fixes the scale of the log-CPB of a V2: the windows, one a stage, that it was trained with
(`pretrained_window`). None means the windows in use. No tensor of a model tells the scale.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from muntin.errors import UserError
from muntin.formats.swin import FILES, swin_of_transformers, swin_v2_of_transformers
from muntin.formats.swin_windows import buffers as named_buffers
from muntin.heads import PooledReadout, Readout
from muntin.models import Swin, SwinConfig, SwinV2
from muntin.models.swin import VARIANTS, effective_windows, stage_windows
from muntin.models.swin_v2 import VARIANTS as VARIANTS_V2
from muntin.models.swin_v2 import SwinV2Config, log_spaced_offsets
from muntin.ops.windows import Size, relative_position_index

from .entry import BiasTables, Entry, Family

BOTH = "ImageNet-22K, then 1K"
SOURCE = "result tables of the official repository"
SMALL = {"patch": (4, 4), "dim": 16, "depths": (2, 2), "heads": (1, 2), "window": (4, 4)}

# --- windows ---------------------------------------------------------------------------------------------------------


def spelt(config: SwinConfig) -> dict[str, Any]:
    """How files write the windows: one for every stage."""
    return {"window": tuple(stage_windows(config))}


def same(known: Entry, field: str, value: Any) -> bool:
    """Whether these windows are those of the published model: as configured, or used in its training on small maps.

    For the scale of a log-CPB: whether it is those windows, all alike, which is what None stands for.
    """
    windows = tuple(stage_windows(known.config)), effective_windows(known.config, known.image_size)
    return value in windows and (field == "window" or (field == "pretrained_window" and len(set(value)) == 1))


def _nothing_to_adopt(backbone: Swin, told: Mapping[str, Any], assumed: Mapping[str, Any]) -> tuple[str, ...]:
    """Tables of other windows are resized, or refused, as tensors."""
    return ()


# --- the scale of V2's log-CPB ---------------------------------------------------------------------------------------


def trained(config: SwinV2Config, size: Size | None) -> dict[str, Any]:
    """The scale that training on such pictures gives a log-CPB that has none yet."""
    used = effective_windows(config, size) if size else tuple(stage_windows(config))
    return {"pretrained_window": config.pretrained_window or used}


def told(config: SwinV2Config, size: Size | None) -> dict[str, Any]:
    """The windows that give the position bias its scale, for the model that loads it next."""
    return {"trained_windows": list(trained(config, size)["pretrained_window"])}


def adopt(backbone: SwinV2, told: Mapping[str, Any], assumed: Mapping[str, Any]) -> tuple[str, ...]:
    """Set the scale of the log-CPB. Returns a note.

    The first of these counts: the scale in the file; that of the model; the windows that the file was made for; the
    assumed ones; those in use. Raises UserError where file and model tell different scales.
    """
    if backbone.config.frozen_bias:
        return ("the position bias is a frozen table",)
    theirs, own = told.get("pretrained_window"), backbone.config.pretrained_window
    if theirs and own and theirs != own:
        raise UserError(
            f"the position bias was trained with windows {_in_words(theirs)}, and the model is set to "
            f"{_in_words(own)}; build the model with pretrained_window={theirs}"
        )
    in_use = tuple(stage_windows(backbone.config))
    if theirs or own:
        scale, source = theirs or own or in_use, "as the file tells" if theirs else "as the model is set"
    elif "window" in told:
        scale, source = told["window"], "those that the file was made for"
    else:
        scale, source = assumed.get("pretrained_window", in_use), "assumed, the file does not tell"
    if theirs or scale not in (own, in_use):
        backbone.set_scale(scale)
    return (f"position bias trained with windows {_in_words(scale)} ({source})",)


def _in_words(windows: tuple[Size, ...]) -> str:
    return ", ".join(map(_by, windows if len(set(windows)) > 1 else windows[:1]))


def _by(window: Size) -> str:
    return "x".join(map(str, window))


# --- what files hold although it follows from sizes -------------------------------------------------------------------


def buffers(layout: str, config: SwinConfig, size: Size) -> dict[str, Tensor]:
    """The index of the bias's rows, without which torchvision's models load no file strictly."""
    return _buffers(layout, config, tuple(stage_windows(config)), None) if layout == "torchvision" else {}


def buffers_v2(layout: str, config: SwinV2Config, size: Size) -> dict[str, Tensor]:
    """The index and the coordinates by which an official file tells its windows and their scale.

    Raises UserError for a position bias trained with windows other than those in use, which torchvision cannot express.
    """
    windows = tuple(stage_windows(config)) if layout == "torchvision" else effective_windows(config, size)
    scales = config.pretrained_window or windows
    if layout == "torchvision" and scales != windows:
        raise UserError(
            f"the position bias was trained with windows {' '.join(map(_by, scales))} and is used with "
            f"{' '.join(map(_by, windows))}; torchvision cannot say so: write another layout"
        )
    return _buffers(layout, config, windows, scales)


def _buffers(
    layout: str, config: SwinConfig, windows: tuple[Size, ...], scales: tuple[Size, ...] | None
) -> dict[str, Tensor]:
    """Index of every pair of a window and, with scales, the coordinates of every offset."""
    cpu, coordinates = torch.device("cpu"), []
    for window, scale in zip(windows, scales or ()):
        offsets = log_spaced_offsets(window, scale, torch.float32, cpu)
        coordinates.append(offsets.view(*(2 * w - 1 for w in window), len(window)))
    indices = [relative_position_index(window, cpu) for window in windows]
    return named_buffers(layout, config.depths, indices, coordinates or None)


# --- the families ----------------------------------------------------------------------------------------------------


def readout(config: Any) -> Callable[[int, int], Readout]:
    """The norm comes before the mean."""
    return PooledReadout


TABLES = BiasTables(r"backbone\.stages\.(\d+)\.\d+\.mix\.position\.table", "window", stage_windows, "window")
FAMILY = Family(
    "swin",
    Swin,
    SwinConfig,
    readout,
    FILES,
    SMALL,
    dense={"small_map": "keep"},
    structure=("dim", "depths", "heads"),
    squares=("patch", "window", "absolute_position"),
    hidden={"window": "windows"},
    in_use=("window", "small_map"),
    grid="absolute_position",
    positions="backbone.absolute_position.embedding",
    tables=TABLES,
    adopt=_nothing_to_adopt,
    spelt=spelt,
    same=same,
    transformers=swin_of_transformers,
    buffers=buffers,
)
FAMILY_V2 = FAMILY._replace(
    name="swin_v2",
    beginning="swin_?v?2_?",
    backbone=SwinV2,
    config=SwinV2Config,
    structure=(*FAMILY.structure, "extra_norm_period", "extra_norm_scope"),
    stage_squares=("pretrained_window",),
    decided=("pretrained_window",),
    tables=TABLES._replace(fixed=True),  # a frozen log-CPB
    adopt=adopt,
    trained=trained,
    told=told,
    transformers=swin_v2_of_transformers,
    buffers=buffers_v2,
    freeze_bias=SwinV2.freeze_position_bias,
)


def _entry(name: str, side: int, top1: float | None = None, trained_on: str = "ImageNet-1K") -> Entry:
    family, config = (FAMILY_V2, VARIANTS_V2[name]) if name in VARIANTS_V2 else (FAMILY, VARIANTS[name])
    told = (top1, trained_on, SOURCE) if top1 else ()
    return Entry(name, family, config, (side, side), *told)


ENTRIES = (
    _entry("swin_tiny", 224, 81.2),
    _entry("swin_tiny_c24", 256, 81.6),
    _entry("swin_small", 224, 83.2),
    _entry("swin_base", 224, 83.5),
    _entry("swin_base_window12", 384, 84.5),
    _entry("swin_large", 224, 86.3, BOTH),
    _entry("swin_large_window12", 384, 87.3, BOTH),
    _entry("swin_v2_tiny_window8", 256, 81.8),
    _entry("swin_v2_tiny_window16", 256, 82.8),
    _entry("swin_v2_small_window8", 256, 83.7),
    _entry("swin_v2_small_window16", 256, 84.1),
    _entry("swin_v2_base_window8", 256, 84.2),
    _entry("swin_v2_base_window16", 256, 84.6),
    _entry("swin_v2_base_window12", 192),
    _entry("swin_v2_base_window12to16", 256, 86.2, BOTH),
    _entry("swin_v2_base_window12to24", 384, 87.1, BOTH),
    _entry("swin_v2_large_window12", 192),
    _entry("swin_v2_large_window12to16", 256, 86.9, BOTH),
    _entry("swin_v2_large_window12to24", 384, 87.6, BOTH),
    _entry("swin_v2_huge_window12", 192),
    _entry("swin_v2_giant_window12", 192),
    _entry("swin_v2_g_window12", 192),
)

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
# timm and transformers say the patch of V2, too
ALIASES |= {
    re.sub("_window", "_patch4_window", alias): name for alias, name in ALIASES.items() if alias[:6] == "swinv2"
}
