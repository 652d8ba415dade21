"""ViT and its hybrids in the catalog."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from muntin.formats.vit import FILES, vit_of_transformers
from muntin.heads import MeanNormReadout, PooledReadout, Readout, TokenReadout
from muntin.models.vit import EPS, VARIANTS, ViT, ViTConfig
from muntin.models.vit_hybrid import VARIANTS as HYBRIDS
from muntin.models.vit_hybrid import HybridViT, HybridViTConfig

from .entry import Entry, Family

SMALL = {"patch": (4, 4), "grid": (8, 8), "dim": 32, "depth": 2, "heads": 2}
SMALL_HYBRID = {**SMALL, "patch": (1, 1), "stem": (1,), "stem_width": 32}


def readout(config: ViTConfig) -> Callable[[int, int], Readout]:
    """By the config's `readout`; all norms have one epsilon."""
    if config.readout == "mean_norm":
        return partial(MeanNormReadout, eps=EPS)
    by_vector = TokenReadout if config.readout == "token" else PooledReadout
    return partial(by_vector, eps=EPS, representation=config.representation)


FAMILY = Family(
    "vit",
    ViT,
    ViTConfig,
    readout,
    FILES,
    SMALL,
    structure=("dim", "depth", "heads"),
    squares=("patch", "grid"),
    hidden={"heads": "number of attention heads"},
    decided=("gelu", "position_resample"),
    grid="grid",
    positions="backbone.position.embedding",
    adopt=lambda backbone, told, assumed: backbone.adopt(told),
    transformers=vit_of_transformers,
)
FAMILY_HYBRID = FAMILY._replace(
    name="vit_hybrid",
    backbone=HybridViT,
    config=HybridViTConfig,
    small=SMALL_HYBRID,
    patch_kernel="",  # the first kernels are standardised, so that no others give the same
    transformers=None,
)

AUGREG = "recommended files of the official repository"
README = "fine-tuning table of the official repository"
PAPER = "table 5"


def _entry(name: str) -> Entry:
    family, config = (FAMILY_HYBRID, HYBRIDS[name]) if name in HYBRIDS else (FAMILY, VARIANTS[name])
    side = 384 if name.endswith("_384") else 224
    top1, source = TOP1.get(name, (None, ""))
    return Entry(name, family, config, (side, side), top1, "ImageNet-21K, then 1K" if top1 else "", source)


TOP1 = {  # fine-tuned at 384
    "vit_tiny_patch16_384": (78.22, AUGREG),
    "vit_small_patch16_384": (83.73, AUGREG),
    "vit_small_patch32_384": (79.58, AUGREG),
    "vit_base_patch16_384": (85.49, AUGREG),
    "vit_base_patch32_384": (83.59, AUGREG),
    "vit_large_patch16_384": (85.59, AUGREG),
    "vit_large_patch32_384": (81.89, README),
    "vit_huge_patch14_384": (85.13, PAPER),
    "vit_r_tiny_patch16_384": (75.40, AUGREG),
    "vit_r26_small_patch32_384": (83.85, AUGREG),
    "vit_r50_base_patch16_384": (85.08, README),
    "vit_r50_large_patch32_384": (85.99, AUGREG),
}
ENTRIES = tuple(map(_entry, (*VARIANTS, *HYBRIDS)))

_PLAIN = [name for name in VARIANTS if not name.endswith(("_gap", "_384"))]
ALIASES = {  # other projects' names in our spelling
    **{f"{name}_224": name for name in VARIANTS if not name.endswith("_384")},
    **{f"{name}_224_in21k": name for name in _PLAIN},
    **{f"{name}_384_in21k": f"{name}_384" for name in _PLAIN},
    "vit_ti_16": "vit_tiny_patch16",
    "vit_s_16": "vit_small_patch16",
    "vit_s_32": "vit_small_patch32",
    "vit_b_8": "vit_base_patch8",
    "vit_b_16": "vit_base_patch16",
    "vit_b_32": "vit_base_patch32",
    "vit_l_16": "vit_large_patch16",
    "vit_l_32": "vit_large_patch32",
    "vit_h_14": "vit_huge_patch14",
    "vit_s_16_gap_norep": "vit_small_patch16_gap",
    "vit_s_32_gap_norep": "vit_small_patch32_gap",
    "vit_b_16_gap_norep": "vit_base_patch16_gap",
    "vit_b_32_gap_norep": "vit_base_patch32_gap",
    "r+vit_ti_16": "vit_r_tiny_patch16",
    "r26+vit_s_32": "vit_r26_small_patch32",
    "r26+vit_b_32": "vit_r26_base_patch32",
    "r50+vit_b_16": "vit_r50_base_patch16",
    "r50+vit_l_32": "vit_r50_large_patch32",
    "vit_tiny_r_s16_p8_224": "vit_r_tiny_patch16",
    "vit_tiny_r_s16_p8_384": "vit_r_tiny_patch16_384",
    "vit_small_r26_s32_224": "vit_r26_small_patch32",
    "vit_small_r26_s32_384": "vit_r26_small_patch32_384",
    "vit_base_r26_s32_224": "vit_r26_base_patch32",
    "vit_base_r50_s16_224": "vit_r50_base_patch16",
    "vit_base_r50_s16_384": "vit_r50_base_patch16_384",
    "vit_large_r50_s32_224": "vit_r50_large_patch32",
    "vit_large_r50_s32_384": "vit_r50_large_patch32_384",
    "vit_hybrid_base_bit_384": "vit_r50_base_patch16_384",
}
