"""Swin Transformer and Swin Transformer V2 in the catalog."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from muntin.formats import swin as files
from muntin.heads import PooledReadout, Readout
from muntin.models import Swin, SwinConfig, SwinV2
from muntin.models.swin import VARIANTS
from muntin.models.swin_v2 import VARIANTS as VARIANTS_V2
from muntin.models.swin_v2 import SwinV2Config

from .entry import Entry, Family

BOTH = "ImageNet-22K, then 1K"
SOURCE = "result tables of the official repository"
SMALL = {"patch": (4, 4), "dim": 16, "depths": (2, 2), "heads": (1, 2), "window": (4, 4)}


def readout(config: Any) -> Callable[[int, int], Readout]:
    """The norm comes before the mean."""
    return PooledReadout


DENSE = {"small_map": "keep"}
FAMILY = Family(Swin, SwinConfig, readout, files, SMALL, DENSE)
FAMILY_V2 = Family(SwinV2, SwinV2Config, readout, files, SMALL, DENSE)


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
