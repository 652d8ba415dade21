"""ConvNeXt in the catalog."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from muntin.formats.convnext import FILES, convnext_of_transformers
from muntin.heads import MeanNormReadout, Readout
from muntin.models.convnext import EPS, VARIANTS, ConvNeXt, ConvNeXtConfig

from .entry import Entry, Family

SOURCE = "ConvNeXt, table 1 and the official repository"
BOTH = "ImageNet-22K, then 1K"
SMALL = {"patch": (4, 4), "dims": (16, 32), "depths": (2, 2)}


def readout(config: ConvNeXtConfig) -> Callable[[int, int], Readout]:
    """The mean comes before the norm."""
    return partial(MeanNormReadout, eps=EPS)


FAMILY = Family(
    "convnext",
    ConvNeXt,
    ConvNeXtConfig,
    readout,
    FILES,
    SMALL,
    structure=("dims", "depths"),
    squares=("patch",),
    transformers=convnext_of_transformers,
)


def _entry(name: str, top1: float, trained_on: str = "ImageNet-1K", source: str = SOURCE) -> Entry:
    return Entry(name, FAMILY, VARIANTS[name], (224, 224), top1, trained_on, source)


ENTRIES = (
    _entry("convnext_tiny", 82.1),
    _entry("convnext_small", 83.1),
    _entry("convnext_base", 83.8),
    _entry("convnext_large", 84.3),
    _entry("convnext_xlarge", 87.0, BOTH),
    _entry("convnext_iso_small", 78.7, source="ConvNeXt, table 2"),
    _entry("convnext_iso_base", 82.0, source="ConvNeXt, table 2"),
    _entry("convnext_iso_large", 82.6, source="ConvNeXt, table 2"),
)

_SIZES = {"t": "tiny", "s": "small", "b": "base", "l": "large", "xl": "xlarge"}
_OFFICIAL = ("1k_224", "1k_224_ema", "1k_384", "22k_224", "22k_1k_224", "22k_1k_384")
_OTHERS = ("224", "384", "224_22k", "384_22k", "in22ft1k", "384_in22ft1k")  # transformers, earlier timm
ALIASES = {
    **{f"convnext_{size}_{tag}": f"convnext_{size}" for size in _SIZES.values() for tag in _OFFICIAL + _OTHERS},
    **{f"convnext_{letter}": f"convnext_{size}" for letter, size in _SIZES.items()},
    **{f"convnext_isotropic_{size}": f"convnext_iso_{size}" for size in ("small", "base", "large")},
    **{f"convnext_iso_{size}_1k_224_ema": f"convnext_iso_{size}" for size in ("small", "base", "large")},
}
