"""BEiT's form of ViT, as SimMIM trains it, in the catalog."""

from __future__ import annotations

from muntin.formats import beit as files
from muntin.models.beit import VARIANTS, BEiT, BEiTConfig

from .entry import Entry, Family
from .vit import SMALL, readout

FAMILY = Family(BEiT, BEiTConfig, readout, files, SMALL)

ENTRIES = (
    Entry(
        "beit_base",
        FAMILY,
        VARIANTS["beit_base"],
        (224, 224),
        83.8,
        "ImageNet-1K, by SimMIM for 800 epochs, then fine-tuned",
        "model table of the SimMIM repository",
    ),
)

ALIASES = {  # other projects' names in our spelling
    "beit_base_patch16_224": "beit_base",
    "beit_base_patch16_224_pt22k": "beit_base",
    "beit_base_patch16_224_pt22k_ft22k": "beit_base",
    "beit_base_patch16_384": "beit_base",
}
