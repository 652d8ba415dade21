"""The config.json of transformers for a Swin or Swin V2, so that its `from_pretrained` takes a converted folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from muntin.errors import UserError

_CLASSES = {"classifier": "ForImageClassification", "simmim": "ForMaskedImageModeling", "backbone": "Backbone"}


def transformers_config(
    fields: Any, *, v2: bool, kind: str, image_size: tuple[int, int], classes: Sequence[str]
) -> dict[str, Any]:
    """The values of a `transformers.SwinConfig` or `Swinv2Config`.

    fields: the config of our model. kind: "classifier", "simmim" or "backbone". Raises UserError for what those classes
    cannot say: windows and patches that are no squares or differ from stage to stage, MLPs without a common ratio.
    """
    windows = {w if isinstance(w, tuple) else fields.window for w in fields.window}
    side = _side("window", windows)
    if image_size[0] != image_size[1]:
        raise UserError(f"transformers takes square pictures, and this model's are {image_size}; adapt it first")
    config: dict[str, Any] = {
        "architectures": [("Swinv2" if v2 else "Swin") + _CLASSES[kind]],
        "model_type": "swinv2" if v2 else "swin",
        "image_size": image_size[0],
        "patch_size": _side("patch", {fields.patch}),
        "num_channels": fields.in_chans,
        "embed_dim": fields.dim,
        "depths": list(fields.depths),
        "num_heads": list(fields.heads),
        "window_size": side,
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
        "id2label": {str(i): name for i, name in enumerate(classes)},
        "label2id": {name: i for i, name in enumerate(classes)},
    }
    if v2:
        scales = fields.pretrained_window or ()
        config["pretrained_window_sizes"] = [_side("pretrained window", {w}) for w in scales] or [0] * len(
            fields.depths
        )
    return config


def _side(what: str, sizes: set) -> int:
    if len(sizes) == 1 and len(set(size := next(iter(sizes)))) == 1:
        return size[0]
    raise UserError(f"transformers knows one square {what} for all stages, and this model has {sorted(sizes)}")
