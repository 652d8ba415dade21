"""The config.json of transformers for a model of ours, so that its `from_pretrained` takes a converted folder.

What the config of each family says there stands in the family's file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from muntin.errors import UserError

_CLASSES = {"classifier": "ForImageClassification", "simmim": "ForMaskedImageModeling", "backbone": "Backbone"}


def transformers_config(
    values: Mapping[str, Any], *, in_chans: int, image_size: tuple[int, int], classes: Sequence[str]
) -> dict[str, Any]:
    """The values of a config class of transformers: those of a family, and those that all have.

    Raises UserError for pictures that are not square, which those classes cannot express.
    """
    if image_size[0] != image_size[1]:
        raise UserError(f"transformers takes square pictures, and this model's are {image_size}; adapt it first")
    return {
        **values,
        "image_size": image_size[0],
        "num_channels": in_chans,
        "id2label": {str(i): name for i, name in enumerate(classes)},
        "label2id": {name: i for i, name in enumerate(classes)},
    }


def architecture(model: str, kind: str) -> dict[str, Any]:
    """The class that reads such a file. kind: "classifier", "simmim" or "backbone"."""
    return {"architectures": [model + _CLASSES[kind]]}


def one_side(what: str, sizes: set) -> int:
    """The side of the one square that they all are. Raises UserError where they are not."""
    if len(sizes) == 1 and len(set(size := next(iter(sizes)))) == 1:
        return size[0]
    raise UserError(f"transformers knows one square {what} for all stages, but this model has {sorted(sizes)}")


def preprocessor_config(preprocess: Mapping[str, Any]) -> dict[str, Any]:
    """preprocessor_config.json for pictures prepared by our `data.PictureInput`, whose values are given.

    Its class for ConvNeXt resizes the shorter side and crops, that for ViT warps; both serve any model.
    """
    (height, width), ratio = preprocess["image_size"], preprocess["crop_ratio"]
    crops = ratio > 0 and max(height, width) < 384  # from 384 on its class for ConvNeXt warps as well
    size = {"shortest_edge": height} if crops else {"height": height, "width": width}
    return {
        "image_processor_type": f"{'ConvNext' if crops else 'ViT'}ImageProcessor",
        "do_resize": True,
        "size": size,
        **({"crop_pct": ratio} if crops else {}),
        "resample": {"bilinear": 2, "bicubic": 3}[preprocess["interpolation"]],  # as Pillow numbers them
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocess["mean"]),
        "image_std": list(preprocess["std"]),
    }
