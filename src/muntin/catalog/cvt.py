"""CvT in the catalog."""

from __future__ import annotations

from collections.abc import Callable

from muntin.formats.cvt import FILES, cvt_of_transformers
from muntin.heads import PooledReadout, Readout, TokenReadout
from muntin.models.cvt import VARIANTS, CvT, CvTConfig

from .entry import Entry, Family

SOURCE = "table 3 of the paper"
SMALL = {"dims": (8, 16, 32), "depths": (1, 1, 2), "heads": (1, 2, 2)}


def readout(config: CvTConfig) -> Callable[[int, int], Readout]:
    """The class token of the last stage; without one, the mean over its cells."""
    return TokenReadout if config.class_token[-1] else PooledReadout


FAMILY = Family(
    "cvt",
    CvT,
    CvTConfig,
    readout,
    FILES,
    SMALL,
    structure=("dims", "depths", "heads"),
    hidden={"heads": "number of attention heads"},
    patch_kernel="backbone.embeds.0.proj.weight",
    transformers=cvt_of_transformers,
)

ENTRIES = (
    Entry("cvt_13", FAMILY, VARIANTS["cvt_13"], (224, 224), 81.6, "ImageNet-1K", SOURCE),
    Entry("cvt_21", FAMILY, VARIANTS["cvt_21"], (224, 224), 82.5, "ImageNet-1K", SOURCE),
    Entry(
        "cvt_w24",
        FAMILY,
        VARIANTS["cvt_w24"],
        (384, 384),
        87.6,
        "ImageNet-22K, then 1K",
        "README of the official repository (the paper: 87.7)",
    ),
)

ALIASES = {  # file names of the official repository and names of transformers, normalised by `_plain`
    "cvt_13_224x224": "cvt_13",
    "cvt_13_224x224_in": "cvt_13",
    "cvt_13_384x384_in": "cvt_13",
    "cvt_13_384": "cvt_13",
    "cvt_21_224x224": "cvt_21",
    "cvt_21_224x224_in": "cvt_21",
    "cvt_21_384x384_in": "cvt_21",
    "cvt_21_384": "cvt_21",
    "cvt_w24_384x384_in": "cvt_w24",
    "cvt_w24_384": "cvt_w24",
}
