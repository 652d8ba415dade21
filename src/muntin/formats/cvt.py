"""CvT in the layouts of other projects, read and written under our names.

official      microsoft/CvT
transformers  CvtModel, CvtForImageClassification: the official tensors one to one; its code runs them with the exact
              GELU where the official code and ours have QuickGELU, so that its logits differ by a few hundredths
muntin        classifier, dense backbone and SimMIM

All tensors are kept, the running statistics of batch norm and its counters included. Nothing here knows a model class.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from . import told
from .layout import Files, Foreign, Layout, Sizes, State, depths_of, kind_of, read_layout, write_layout
from .rename import nested
from .transformers_config import architecture

_HEAD = {"norm.*": "readout.norm.*", "head.*": "readout.head.*"}
_BATCH_NORM = {name: name for name in ("*", "running_mean", "running_var", "num_batches_tracked")}
_STAGE = {  # official names inside `stage{s}.`; ours inside `backbone.`
    "patch_embed.proj.*": "embeds.{s}.proj.*",
    "patch_embed.norm.*": "embeds.{s}.norm.*",
    "cls_token": "class_tokens.{s}",
}
_OUR_BLOCK = "backbone.stages.{s}.{b}."

_OFFICIAL = {
    **nested("stage{s}.", "backbone.", _STAGE),
    **nested(
        "stage{s}.blocks.{b}.",
        _OUR_BLOCK,
        {
            **{f"attn.proj_{p}.*": f"mix.{p}.proj.*" for p in "qkv"},
            **{f"attn.conv_proj_{p}.conv.weight": f"mix.{p}.conv.weight" for p in "qkv"},
            **{f"attn.conv_proj_{p}.bn.{n}": f"mix.{p}.bn.{n}" for p in "qkv" for n in _BATCH_NORM},
            **{f"{name}.*": f"{name}.*" for name in ("norm1", "norm2", "mlp.fc1", "mlp.fc2")},
            "attn.proj.*": "mix.proj.*",
        },
    ),
    **_HEAD,
}

_PROJECTION = "attention.attention.convolution_projection_{}.convolution_projection."
_PARTS = {"q": "query", "k": "key", "v": "value"}
_TRANSFORMERS_ENCODER = {
    **nested(
        "encoder.stages.{s}.",
        "backbone.",
        {
            "embedding.convolution_embeddings.projection.*": _STAGE["patch_embed.proj.*"],
            "embedding.convolution_embeddings.normalization.*": _STAGE["patch_embed.norm.*"],
            "cls_token": _STAGE["cls_token"],
        },
    ),
    **nested(
        "encoder.stages.{s}.layers.{b}.",
        _OUR_BLOCK,
        {
            **{f"attention.attention.projection_{part}.*": f"mix.{p}.proj.*" for p, part in _PARTS.items()},
            **{f"{_PROJECTION.format(part)}convolution.weight": f"mix.{p}.conv.weight" for p, part in _PARTS.items()},
            **{
                f"{_PROJECTION.format(part)}normalization.{name}": f"mix.{p}.bn.{name}"
                for p, part in _PARTS.items()
                for name in _BATCH_NORM
            },
            "attention.output.dense.*": "mix.proj.*",
            "layernorm_before.*": "norm1.*",
            "layernorm_after.*": "norm2.*",
            "intermediate.dense.*": "mlp.fc1.*",
            "output.dense.*": "mlp.fc2.*",
        },
    ),
}
_TRANSFORMERS = {
    **nested("cvt.", "", _TRANSFORMERS_ENCODER),
    **_TRANSFORMERS_ENCODER,  # a bare CvtModel
    "layernorm.*": "readout.norm.*",
    "classifier.*": "readout.head.*",
}

_OURS = {name: name for name in _OFFICIAL.values()}
_OURS |= {name: name for name in ("norms.norms.{s}.*", "mask_token", "norm.*", "decoder.*")}

_SIGNS = {
    "muntin": r"backbone\.stages\.\d+\.\d+\.mix\.[qkv]\.proj\.weight",
    "official": r"stage\d+\.blocks\.\d+\.attn\.proj_[qkv]\.weight",
    "transformers": r"(cvt\.)?encoder\.stages\.\d+\.layers\.\d+\.attention\.attention\.projection_query\.weight",
}


def layout_of(keys: set[str]) -> str | None:
    """The layout of a file that has only heads around its backbone."""
    return next((name for name, sign in _SIGNS.items() if any(re.fullmatch(sign, key) for key in keys)), None)


def read(state: Mapping[str, Tensor], grid: tuple[int, ...] | None = None) -> Foreign:
    """The tensors of a file under our names; CvT has no positions, and so needs no grid.

    Raises UserError for a file of no known layout, and for one with keys that its layout does not explain.
    """
    return read_layout(state, _LAYOUTS, layout_of, "CvT")[0]


def write(state: Mapping[str, Tensor], layout: str, settings: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
    """Our names to those of a layout.

    Raises UserError for tensors that the layout has no place for, such as those of a fused model.
    """
    return write_layout(state, _LAYOUTS, layout)


def sizes(tensors: Mapping[str, Tensor]) -> Sizes:
    """What shapes tell; they do not tell heads and strides. tensors: under our names.

    A stage without convolutions in its attention pools: with neither, the official code cannot run. Raises KeyError,
    IndexError or ValueError if tensors that tell the sizes are missing.
    """
    depths = depths_of(tensors)
    stages = range(len(depths))
    embeds = [tensors[f"backbone.embeds.{s}.proj.weight"] for s in stages]
    convs = [tensors.get(f"backbone.stages.{s}.0.mix.k.conv.weight") for s in stages]
    hidden = [len(tensors[f"backbone.stages.{s}.0.mlp.fc1.weight"]) for s in stages]
    fields: dict[str, Any] = {
        "in_chans": embeds[0].shape[1],
        "embed_kernel": tuple(kernel.shape[-1] for kernel in embeds),
        "dims": tuple(len(kernel) for kernel in embeds),
        "depths": depths,
        "mlp_ratio": tuple(width / len(kernel) for width, kernel in zip(hidden, embeds)),
        "projection": tuple("avg" if conv is None else "dw_bn" for conv in convs),
        "kernel": tuple(3 if conv is None else conv.shape[-1] for conv in convs),
        "qkv_bias": tuple(f"backbone.stages.{s}.0.mix.q.proj.bias" in tensors for s in stages),
        "class_token": tuple(f"backbone.class_tokens.{s}" in tensors for s in stages),
    }
    return Sizes("cvt", *kind_of(tensors), fields)


def _tokens_to_rows(state: State) -> None:
    """Class tokens (1, 1, C) -> (1, C)."""
    for key in state:
        if key.startswith("backbone.class_tokens."):
            state[key] = state[key].flatten(0, 1)


def _tokens_to_sequences(state: State) -> None:
    """The reverse of `_tokens_to_rows`."""
    for key in state:
        if key.startswith("backbone.class_tokens."):
            state[key] = state[key][None]


_TOKENS = (_tokens_to_rows,), (_tokens_to_sequences,)
_LAYOUTS = {
    "muntin": Layout(_OURS),
    "official": Layout(_OFFICIAL, *_TOKENS),
    "transformers": Layout(_TRANSFORMERS, *_TOKENS),
}

# --- configs ---------------------------------------------------------------------------------------------------------

_SETTINGS = {  # ours -> transformers'
    "heads": "num_heads",
    "kv_stride": "stride_kv",
    "embed_stride": "patch_stride",
    "embed_padding": "patch_padding",
}


def told_by_transformers(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """What no tensor tells: heads, strides and padding of each stage."""
    if config.get("model_type") != "cvt":
        return {}
    found = told.plain(config, _SETTINGS.values())
    return {ours: found[theirs] for ours, theirs in _SETTINGS.items() if theirs in found}


def cvt_of_transformers(config: Any, kind: str) -> dict[str, Any]:
    """The config class of transformers. Its code always computes the exact GELU."""
    stages = len(config.dims)
    return {
        **architecture("Cvt", kind),
        "model_type": "cvt",
        "patch_sizes": list(config.embed_kernel),
        "patch_stride": list(config.embed_stride),
        "patch_padding": list(config.embed_padding),
        "embed_dim": list(config.dims),
        "num_heads": list(config.heads),
        "depth": list(config.depths),
        "mlp_ratio": list(config.mlp_ratio),
        "qkv_bias": list(config.qkv_bias),
        "cls_token": list(config.class_token),
        "qkv_projection_method": list(config.projection),
        "kernel_qkv": list(config.kernel),
        "padding_kv": [kernel // 2 for kernel in config.kernel],
        "stride_kv": list(config.kv_stride),
        "padding_q": [kernel // 2 for kernel in config.kernel],
        "stride_q": [1] * stages,
        "attention_drop_rate": [0.0] * stages,
        "drop_rate": [0.0] * stages,
        "drop_path_rate": [0.0] * stages,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-5,
    }


def otherwise(layout: str, settings: Mapping[str, Any]) -> str:
    """A note that transformers computes another GELU and cannot be set to ours."""
    return "CvT has QuickGELU, and transformers computes it with the exact GELU" if layout == "transformers" else ""


FILES = Files(
    title="CvT",
    layouts=tuple(_LAYOUTS),
    layout_of=layout_of,
    read=read,
    write=write,
    sizes=sizes,
    settings=("heads", "embed_stride", "embed_padding", "kv_stride"),
    told_by_transformers=told_by_transformers,
    otherwise=otherwise,
)
