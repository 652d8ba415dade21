"""Foreign checkpoints of PoolFormer, in two layouts that are not ours.

- `official`: stages and the embeddings between them in one list, the MLP as 1 x 1 convolutions;
- `timm`: an embedding begins each stage but the first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .layout import Files, Foreign, Layout, Sizes, State, depths_of, kind_of, read_layout, write_layout
from .rename import nested

_BLOCK = {name: name for name in ("norm1.*", "norm2.*", "mlp.fc1.*", "mlp.fc2.*")}
_OUR_BLOCK = "backbone.stages.{s}.{b}."
_OFFICIAL = {
    "patch_embed.proj.*": "backbone.embeds.0.proj.*",
    "network.{2s+1}.proj.*": "backbone.embeds.{s+1}.proj.*",
    **nested("network.{2s}.{b}.", _OUR_BLOCK, _BLOCK),
    "norm.*": "readout.norm.*",
    "head.*": "readout.head.*",
}
_TIMM = {
    "stem.conv.*": "backbone.embeds.0.proj.*",
    "stages.{s+1}.downsample.conv.*": "backbone.embeds.{s+1}.proj.*",
    **nested("stages.{s}.blocks.{b}.", _OUR_BLOCK, _BLOCK),
    "head.norm.*": "readout.norm.*",
    "head.fc.*": "readout.head.*",
}


def _convolution_to_linear(state: State) -> None:
    for key in state:
        if re.search(r"\.mlp\.fc[12]\.weight$", key):
            state[key] = state[key].flatten(1)


def _linear_to_convolution(state: State) -> None:
    for key in state:
        if re.search(r"\.mlp\.fc[12]\.weight$", key):
            state[key] = state[key][:, :, None, None]


_LAYOUTS = {
    "muntin": Layout(
        {ours: ours for ours in (*_TIMM.values(), "norms.norms.{s}.*", "mask_token", "norm.*", "decoder.*")}
    ),
    "official": Layout(_OFFICIAL, (_convolution_to_linear,), (_linear_to_convolution,)),
    "timm": Layout(_TIMM),
}
_SIGNS = {
    "muntin": r"backbone\.stages\.\d+\.\d+\.mlp\.fc1\.weight",
    "official": r"network\.\d+\.\d+\.mlp\.fc1\.weight",
    "timm": r"stages\.\d+\.blocks\.\d+\.mlp\.fc1\.weight",
}


def layout_of(keys: set[str]) -> str | None:
    """The layout of a file that holds nothing around its backbone but heads."""
    if any(part in key for key in keys for part in (".mix.", ".attn.", ".dwconv.", ".conv_dw.")):
        return None  # of a model whose tokens are mixed by parameters
    return next((name for name, sign in _SIGNS.items() if any(re.fullmatch(sign, key) for key in keys)), None)


def read(state: Mapping[str, Tensor], grid: tuple[int, ...] | None = None) -> Foreign:
    """The tensors of a file under our names. Raises UserError for keys that its layout does not explain."""
    return read_layout(state, _LAYOUTS, layout_of, "PoolFormer")[0]


def write(state: Mapping[str, Tensor], layout: str, settings: Mapping[str, Any] | None = None) -> State:
    """Our names to those of a layout. Raises UserError for tensors that it has no place for."""
    return write_layout(state, _LAYOUTS, layout)


def sizes(tensors: Mapping[str, Tensor]) -> Sizes:
    """What shapes tell, which is all there is. Raises KeyError where tensors that tell it are missing."""
    depths = depths_of(tensors)
    embeds = [tensors[f"backbone.embeds.{stage}.proj.weight"] for stage in range(len(depths))]
    fields = {"in_chans": embeds[0].shape[1], "dims": tuple(len(kernel) for kernel in embeds), "depths": depths}
    return Sizes("poolformer", *kind_of(tensors), fields)


FILES = Files(
    title="PoolFormer",
    layouts=tuple(_LAYOUTS),
    layout_of=layout_of,
    read=read,
    write=write,
    sizes=sizes,
    inside={"official": "state_dict"},
)
