"""The config.json of transformers for a model of ours, so that its `from_pretrained` takes a converted folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from muntin.errors import UserError

_CLASSES = {"classifier": "ForImageClassification", "simmim": "ForMaskedImageModeling", "backbone": "Backbone"}


def transformers_config(
    family: str, fields: Any, *, kind: str, image_size: tuple[int, int], classes: Sequence[str]
) -> dict[str, Any]:
    """The values of the config class that transformers has for the family.

    family: the name of our backbone's class. fields: its config. kind: "classifier", "simmim" or "backbone". Raises
    UserError for what those classes cannot say: pictures, windows and patches that are no squares, windows that differ
    from stage to stage.
    """
    if family not in _CONFIGS:
        raise UserError(f"transformers has no {family}; write another layout")
    if image_size[0] != image_size[1]:
        raise UserError(f"transformers takes square pictures, and this model's are {image_size}; adapt it first")
    model, values = _CONFIGS[family](fields, image_size[0])
    return {
        "architectures": [model + _CLASSES[kind]],
        **values,
        "image_size": image_size[0],
        "num_channels": fields.in_chans,
        "id2label": {str(i): name for i, name in enumerate(classes)},
        "label2id": {name: i for i, name in enumerate(classes)},
    }


def _swin(fields: Any, side: int) -> tuple[str, dict[str, Any]]:
    return "Swin", {"model_type": "swin", **_either_swin(fields)}


def _swin_v2(fields: Any, side: int) -> tuple[str, dict[str, Any]]:
    scales = fields.pretrained_window or ()
    told = [_side("pretrained window", {w}) for w in scales] or [0] * len(fields.depths)
    return "Swinv2", {"model_type": "swinv2", **_either_swin(fields), "pretrained_window_sizes": told}


def _either_swin(fields: Any) -> dict[str, Any]:
    return {
        "patch_size": _side("patch", {fields.patch}),
        "embed_dim": fields.dim,
        "depths": list(fields.depths),
        "num_heads": list(fields.heads),
        "window_size": _side("window", {w if isinstance(w, tuple) else fields.window for w in fields.window}),
        "mlp_ratio": fields.mlp_ratio,
        "qkv_bias": fields.qkv_bias,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "drop_path_rate": 0.1,
        "hidden_act": "gelu",
        "use_absolute_embeddings": fields.absolute_position is not None,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-5,
        "encoder_stride": fields.patch[0] * 2 ** (len(fields.depths) - 1),
    }


_CONFIGS: dict[str, Callable[[Any, int], tuple[str, dict[str, Any]]]] = {
    "Swin": _swin,
    "SwinV2": _swin_v2,
}


def _side(what: str, sizes: set) -> int:
    if len(sizes) == 1 and len(set(size := next(iter(sizes)))) == 1:
        return size[0]
    raise UserError(f"transformers knows one square {what} for all stages, and this model has {sorted(sizes)}")
