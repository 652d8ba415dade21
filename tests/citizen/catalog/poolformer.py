"""PoolFormer in the catalog."""

from __future__ import annotations

from muntin.formats.poolformer import FILES
from muntin.models.poolformer import PoolFormer, PoolFormerConfig

from muntin.heads import PooledReadout

from .entry import Entry, Family

FAMILY = Family(
    "poolformer",
    PoolFormer,
    PoolFormerConfig,
    lambda config: PooledReadout,
    FILES,
    small={"dims": (16, 32), "depths": (1, 1)},
    structure=("dims", "depths"),
    patch_kernel="backbone.embeds.0.proj.weight",
)

ENTRIES = (
    Entry("poolformer_tiny", FAMILY, PoolFormerConfig(), (32, 32)),
    Entry("poolformer_small", FAMILY, PoolFormerConfig(dims=(32, 64)), (32, 32)),
)

ALIASES = {"poolformer_xs": "poolformer_tiny"}
