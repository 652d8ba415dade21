"""Checkpoints of the steps from ResNet to ConvNeXt.

- `muntin`: ours; nobody else has the steps in between;
- `torchvision`: its ResNet-50, which is step 0 (v1.5: the stride is in the 3 x 3 convolution); timm uses its names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from muntin.errors import UserError

from .layout import Files, Foreign, Layout, Sizes, depths_of, read_layout, write_layout
from .rename import nested

_NORM = {
    "*": "*",
    "running_mean": "running_mean",
    "running_var": "running_var",
    "num_batches_tracked": "num_batches_tracked",
}
_BLOCK = {
    **{f"conv{i}.*": f"conv{i}.*" for i in (1, 2, 3)},
    **{key: name for i in (1, 2, 3) for key, name in nested(f"bn{i}.", f"norm{i}.", _NORM).items()},
    "downsample.0.*": "shortcut.0.*",
    **nested("downsample.1.", "shortcut.1.", _NORM),
}
TORCHVISION = {
    "conv1.*": "backbone.stem.0.*",
    **nested("bn1.", "backbone.stem.1.", _NORM),
    **nested("layer{s+1}.{b}.", "backbone.stages.{s}.{b}.", _BLOCK),
    "fc.*": "readout.head.*",
}
_OUR_BLOCK = {
    **{f"conv{i}.*": f"conv{i}.*" for i in (1, 2, 3)},
    **{key: name for i in (1, 2, 3) for key, name in nested(f"norm{i}.", f"norm{i}.", _NORM).items()},
    "shortcut.0.*": "shortcut.0.*",
    **nested("shortcut.1.", "shortcut.1.", _NORM),
    "scale.gamma": "scale.gamma",
}
OURS = {
    key: key
    for key in (
        "backbone.stem.0.*",
        *nested("backbone.stem.1.", "", _NORM),
        *nested("backbone.downsamples.{s}.0.", "", _NORM),
        "backbone.downsamples.{s}.1.*",
        *nested("backbone.stages.{s}.{b}.", "", _OUR_BLOCK),
        "readout.norm.*",
        "readout.head.*",
        "norms.norms.{s}.*",
        "mask_token",
        "norm.*",
        "decoder.*",
    )
}

_LAYOUTS = {"muntin": Layout(OURS), "torchvision": Layout(TORCHVISION)}


def layout_of(keys: set[str]) -> str | None:
    """The layout of a file that has only heads around its backbone."""
    if {"backbone.stem.0.weight", "backbone.stages.0.0.conv1.weight"} <= keys:
        return "muntin"
    return "torchvision" if {"conv1.weight", "bn1.weight", "layer1.0.conv3.weight"} <= keys else None


def read(state: Mapping[str, Tensor], grid: tuple[int, ...] | None = None) -> Foreign:
    """The tensors of a file under our names. There is no position embedding, so `grid` says nothing here.

    Raises UserError for a file of no known layout, and for one with keys that its layout does not explain.
    """
    return read_layout(state, _LAYOUTS, layout_of, "ConvNeXt roadmap")[0]


def write(state: Mapping[str, Tensor], layout: str, settings: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
    """Our names to those of a layout. Raises UserError for tensors that it has no place for."""
    told = sizes(state).fields
    if layout == "torchvision" and (told["stem"], told["depthwise"], told["block"]) != (
        "overlapping",
        False,
        "bottleneck",
    ):
        raise UserError("this step has no name in the torchvision layout, which is that of ResNet: steps 00 to 02")
    return write_layout(state, _LAYOUTS, layout)


def sizes(tensors: Mapping[str, Tensor]) -> Sizes:
    """What shapes tell of a step; they do not tell the activations. tensors: under our names.

    Raises KeyError, IndexError, ValueError or ZeroDivisionError if tensors that tell the sizes are missing.
    """
    t = tensors
    first, stem = "backbone.stages.0.0.", t["backbone.stem.0.weight"]
    convs = [t[f"{first}conv{i}.weight"] for i in (1, 2, 3)]
    seeing = convs[0] if convs[0].shape[-1] > 1 else convs[1]  # neighbours
    moved = seeing is convs[0]
    separate = "backbone.downsamples.0.1.weight" in t
    normed = "backbone.downsamples.0.0.weight" in t
    fields: dict[str, Any] = {
        "in_chans": stem.shape[1],
        "depths": depths_of(t),
        "stem": "overlapping" if stem.shape[-1] == 7 else "patchify",
        "depthwise": seeing.shape[1] == 1,
        "width": len(stem),
        "block": "depthwise_first" if moved else "inverted" if len(convs[2]) < len(convs[1]) else "bottleneck",
        "kernel": seeing.shape[-1],
        "norms": "all" if f"{first}norm2.weight" in t else "one",
        "norm": "batch" if "backbone.stem.1.running_mean" in t else "layer",
        "downsampling": "separate_normed" if normed else "separate" if separate else "in_blocks",
    }
    head = t.get("readout.head.weight")
    kind = "simmim" if "mask_token" in t else "backbone" if head is None else "classifier"
    return Sizes("convnext_roadmap", kind, 0 if head is None else len(head), fields)


FILES = Files(
    title="ConvNeXt roadmap",
    layouts=tuple(_LAYOUTS),
    layout_of=layout_of,
    read=read,
    write=write,
    sizes=sizes,
    settings=("activation", "activations"),
)
