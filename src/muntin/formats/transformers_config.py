"""The config.json of transformers for a model of ours, so that its `from_pretrained` takes a converted folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    model, values = _CONFIGS[family](fields)
    suffix = "WithTeacher" if model == "DeiT" and kind == "classifier" else ""
    return {
        "architectures": [model + _CLASSES[kind] + suffix],
        **values,
        "image_size": image_size[0],
        "num_channels": fields.in_chans,
        "id2label": {str(i): name for i, name in enumerate(classes)},
        "label2id": {name: i for i, name in enumerate(classes)},
    }


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


# --- by family: the name of its classes there, and its fields ---------------------------------------------------------


def _swin(fields: Any) -> tuple[str, dict[str, Any]]:
    return "Swin", {"model_type": "swin", **_either_swin(fields)}


def _swin_v2(fields: Any) -> tuple[str, dict[str, Any]]:
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


def _vit(fields: Any) -> tuple[str, dict[str, Any]]:
    return "ViT", {"model_type": "vit", **_either_vit(fields)}


def _deit(fields: Any) -> tuple[str, dict[str, Any]]:
    if not fields.distilled:  # its own class always has a distillation token
        return _vit(fields)
    return "DeiT", {"model_type": "deit", **_either_vit(fields)}


def _either_vit(fields: Any) -> dict[str, Any]:
    return {
        "patch_size": _side("patch", {fields.patch}),
        "hidden_size": fields.dim,
        "num_hidden_layers": fields.depth,
        "num_attention_heads": fields.heads,
        "intermediate_size": int(fields.dim * fields.mlp_ratio),
        "qkv_bias": True,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "hidden_act": "gelu" if fields.gelu == "erf" else "gelu_pytorch_tanh",
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-6,
        "encoder_stride": fields.patch[0],
    }


def _convnext(fields: Any) -> tuple[str, dict[str, Any]]:
    if len(fields.dims) == 1:
        raise UserError("transformers has no isotropic ConvNeXt; write another layout")
    return "ConvNext", {
        "model_type": "convnext",
        "patch_size": _side("patch", {fields.patch}),
        "num_stages": len(fields.dims),
        "hidden_sizes": list(fields.dims),
        "depths": list(fields.depths),
        "hidden_act": "gelu",
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-6,
        "layer_scale_init_value": fields.layer_scale,
        "drop_path_rate": 0.0,
    }


def _cvt(fields: Any) -> tuple[str, dict[str, Any]]:
    """Its code computes the exact GELU and cannot be told otherwise; CvT was trained with QuickGELU."""
    stages = len(fields.dims)
    return "Cvt", {
        "model_type": "cvt",
        "patch_sizes": list(fields.embed_kernel),
        "patch_stride": list(fields.embed_stride),
        "patch_padding": list(fields.embed_padding),
        "embed_dim": list(fields.dims),
        "num_heads": list(fields.heads),
        "depth": list(fields.depths),
        "mlp_ratio": list(fields.mlp_ratio),
        "qkv_bias": list(fields.qkv_bias),
        "cls_token": list(fields.class_token),
        "qkv_projection_method": list(fields.projection),
        "kernel_qkv": list(fields.kernel),
        "padding_kv": [kernel // 2 for kernel in fields.kernel],
        "stride_kv": list(fields.kv_stride),
        "padding_q": [kernel // 2 for kernel in fields.kernel],
        "stride_q": [1] * stages,
        "attention_drop_rate": [0.0] * stages,
        "drop_rate": [0.0] * stages,
        "drop_path_rate": [0.0] * stages,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-5,
    }


_CONFIGS: dict[str, Callable[[Any], tuple[str, dict[str, Any]]]] = {
    "Swin": _swin,
    "SwinV2": _swin_v2,
    "ViT": _vit,
    "DeiT": _deit,
    "ConvNeXt": _convnext,
    "CvT": _cvt,
}


def _side(what: str, sizes: set) -> int:
    if len(sizes) == 1 and len(set(size := next(iter(sizes)))) == 1:
        return size[0]
    raise UserError(f"transformers knows one square {what} for all stages, and this model has {sorted(sizes)}")
