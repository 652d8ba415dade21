"""DeiT, plain and distilled, and DeiT III in the catalog."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from muntin.formats.vit import deit_of_transformers
from muntin.heads import DistilledReadout, Readout
from muntin.models.deit import VARIANTS, DeiT, DeiT3, DeiT3Config, DeiTConfig
from muntin.models.vit import EPS

from .entry import Entry
from .vit import FAMILY as VIT
from .vit import readout as plain_readout


def readout(config: DeiTConfig) -> Callable[[int, int], Readout]:
    """Two classifiers where there are two tokens, else as ViT."""
    return partial(DistilledReadout, eps=EPS) if config.distilled else plain_readout(config)


FAMILY = VIT._replace(
    name="deit",
    backbone=DeiT,
    config=DeiTConfig,
    readout=readout,
    transformers=deit_of_transformers,
    resembles=lambda config: "deit" if config.distilled else VIT.name,
)
FAMILY_3 = VIT._replace(name="deit3", backbone=DeiT3, config=DeiT3Config, transformers=None)
SOURCE = "result tables of the official repository"


def _entry(name: str, top1: float, side: int = 224, after_21k: float = 0.0) -> Entry:
    """after_21k: the published number of the same model pre-trained on ImageNet-21K."""
    family, note = FAMILY_3 if name.startswith("deit3") else FAMILY, f"{after_21k} after ImageNet-21K"
    config = VARIANTS[name]
    return Entry(name, family, config, (side, side), top1, "ImageNet-1K", SOURCE, note if after_21k else "")


ENTRIES = (
    _entry("deit_tiny", 72.2),
    _entry("deit_small", 79.9),
    _entry("deit_base", 81.8),
    _entry("deit_base_384", 82.9, 384),
    _entry("deit_tiny_distilled", 74.5),
    _entry("deit_small_distilled", 81.2),
    _entry("deit_base_distilled", 83.4),
    _entry("deit_base_distilled_384", 85.2, 384),
    _entry("deit3_small", 81.4, after_21k=83.1),
    _entry("deit3_medium", 83.0, after_21k=84.5),
    _entry("deit3_base", 83.8, after_21k=85.7),
    _entry("deit3_base_384", 85.0, 384, after_21k=86.7),
    _entry("deit3_large", 84.9, after_21k=87.0),
    _entry("deit3_large_384", 85.8, 384, after_21k=87.7),
    _entry("deit3_huge", 85.2, after_21k=87.2),
)


def _aliases(name: str) -> list[str]:
    """The names of the official repository, timm and transformers."""
    bare, side = (name[:-4], 384) if name.endswith("_384") else (name, 224)
    patched = f"{bare}_patch{VARIANTS[name].patch[0]}"
    official = [patched.replace("deit3", "deit") + "_ls"] if name.startswith("deit3") and side == 224 else []
    return [f"{patched}_{side}", f"{patched}_{side}_in21ft1k", *official]


ALIASES = {alias: name for name in VARIANTS for alias in _aliases(name)}
