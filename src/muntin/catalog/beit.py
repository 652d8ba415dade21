"""BEiT's form of ViT, as SimMIM trains it, in the catalog."""

from __future__ import annotations

from muntin.formats.beit import FILES
from muntin.models.beit import VARIANTS, BEiT, BEiTConfig

from .entry import BiasTables, Entry
from .vit import FAMILY as VIT

# of every block or shared by all; the last rows are the class token's
TABLES = BiasTables(
    r"backbone\.(?:blocks\.\d+\.bias|shared_bias)\.table",
    "grid",
    lambda config: [config.grid],
    "image_size",
    last_rows=3,
)
FAMILY = VIT._replace(
    name="beit",
    backbone=BEiT,
    config=BEiTConfig,
    files=FILES,
    positions="",
    tables=TABLES,
    transformers=None,
)

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
