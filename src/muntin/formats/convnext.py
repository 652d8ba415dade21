"""Foreign checkpoints of ConvNeXt: recognised by their keys, read under our names, written under theirs.

- `official`: the classifiers of facebookresearch/ConvNeXt, hierarchical and isotropic;
- `dense`: the backbone of its detection and segmentation code (`norm0..3`);
- `timm`: classifier or `features_only`; both of its forms of the MLP, linear and as 1 x 1 convolutions;
- `torchvision`;
- `transformers`: for image classification, backbone, or the bare model;
- `muntin`: ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from muntin.errors import UserError

from . import told
from .layout import Files, Foreign, Layout, Sizes, State, depths_of, kind_of, read_layout, write_layout
from .rename import nested
from .transformers_config import architecture, one_side
from .wrapped import unwrap

# --- names: foreign -> ours ------------------------------------------------------------------------------------------

_OUR_BLOCK = "backbone.stages.{s}.{b}."
_OURS_IN_BLOCK = ("dwconv.*", "norm.*", "mlp.fc1.*", "mlp.fc2.*", "scale.gamma")


def _block(*theirs: str) -> dict[str, str]:
    """Their names of what is in a block, in the order of ours."""
    return dict(zip(theirs, _OURS_IN_BLOCK, strict=True))


_OFFICIAL_BLOCK = _block("dwconv.*", "norm.*", "pwconv1.*", "pwconv2.*", "gamma")
_OFFICIAL_BACKBONE = {
    "downsample_layers.0.0.*": "backbone.patch_embed.proj.*",  # the stem has its norm last, all others first
    "downsample_layers.0.1.*": "backbone.patch_embed.norm.*",
    "downsample_layers.{s+1}.0.*": "backbone.downsamples.{s}.norm.*",
    "downsample_layers.{s+1}.1.*": "backbone.downsamples.{s}.proj.*",
    **nested("stages.{s}.{b}.", _OUR_BLOCK, _OFFICIAL_BLOCK),
}
_OFFICIAL_HEAD = {"norm.*": "readout.norm.*", "head.*": "readout.head.*"}
OFFICIAL = {**_OFFICIAL_BACKBONE, **_OFFICIAL_HEAD}
ISOTROPIC = {
    "stem.*": "backbone.patch_embed.proj.*",
    **nested("blocks.{b}.", "backbone.stages.0.{b}.", _OFFICIAL_BLOCK),
    **_OFFICIAL_HEAD,
}
DENSE = {**_OFFICIAL_BACKBONE, "norm{s}.*": "norms.norms.{s}.*"}

_TIMM_BLOCK = _block("conv_dw.*", "norm.*", "mlp.fc1.*", "mlp.fc2.*", "gamma")
_TIMM_DOWNSAMPLE = {"0.*": "norm.*", "1.*": "proj.*"}
TIMM = {
    "stem.0.*": "backbone.patch_embed.proj.*",
    "stem.1.*": "backbone.patch_embed.norm.*",
    **nested("stages.{s+1}.downsample.", "backbone.downsamples.{s}.", _TIMM_DOWNSAMPLE),
    **nested("stages.{s}.blocks.{b}.", _OUR_BLOCK, _TIMM_BLOCK),
    "head.norm.*": "readout.norm.*",
    "head.fc.*": "readout.head.*",
    # features_only=True
    "stem_0.*": "backbone.patch_embed.proj.*",
    "stem_1.*": "backbone.patch_embed.norm.*",
    **nested("stages_{s+1}.downsample.", "backbone.downsamples.{s}.", _TIMM_DOWNSAMPLE),
    **nested("stages_{s}.blocks.{b}.", _OUR_BLOCK, _TIMM_BLOCK),
}

TORCHVISION = {  # stem, stage, downsampling, stage, ... are one list
    "features.0.0.*": "backbone.patch_embed.proj.*",
    "features.0.1.*": "backbone.patch_embed.norm.*",
    "features.{2s+2}.0.*": "backbone.downsamples.{s}.norm.*",
    "features.{2s+2}.1.*": "backbone.downsamples.{s}.proj.*",
    **nested(
        "features.{2s+1}.{b}.", _OUR_BLOCK, _block("block.0.*", "block.2.*", "block.3.*", "block.5.*", "layer_scale")
    ),
    "classifier.0.*": "readout.norm.*",
    "classifier.2.*": "readout.head.*",
}

_PREFIX = "convnext."
TRANSFORMERS = {  # without the prefix, which stands before all but heads
    "embeddings.patch_embeddings.*": "backbone.patch_embed.proj.*",
    "embeddings.layernorm.*": "backbone.patch_embed.norm.*",
    "encoder.stages.{s+1}.downsampling_layer.0.*": "backbone.downsamples.{s}.norm.*",
    "encoder.stages.{s+1}.downsampling_layer.1.*": "backbone.downsamples.{s}.proj.*",
    **nested(
        "encoder.stages.{s}.layers.{b}.",
        _OUR_BLOCK,
        _block("dwconv.*", "layernorm.*", "pwconv1.*", "pwconv2.*", "layer_scale_parameter"),
    ),
    "layernorm.*": "readout.norm.*",
    "classifier.*": "readout.head.*",
    "hidden_states_norms.stage{s+1}.*": "norms.norms.{s}.*",
}

_PRETRAINING = ("mask_token", "norm.*", "decoder.*")  # SimMIM of ConvNeXt: no other project has it
OURS = {ours: ours for ours in (*OFFICIAL.values(), *DENSE.values(), *_PRETRAINING)}

# --- tensors ---------------------------------------------------------------------------------------------------------


def convolution_to_linear(state: State) -> None:
    """An MLP of 1 x 1 convolutions, (C', C, 1, 1), is the same one on channels-last tokens, (C', C)."""
    for key in state:
        if re.search(r"\.mlp\.fc[12]\.weight$", key):
            state[key] = state[key].flatten(1)


def map_scale_to_vector(state: State) -> None:
    """torchvision's scale is that of a map, (C, 1, 1); ours has the shape of a token."""
    for key in state:
        if key.endswith(".scale.gamma"):
            state[key] = state[key].flatten()


def vector_scale_to_map(state: State) -> None:
    """The reverse of `map_scale_to_vector`."""
    for key in state:
        if key.endswith(".scale.gamma"):
            state[key] = state[key][:, None, None]


_LAYOUTS = {
    "muntin": Layout(OURS),
    "official": Layout(OFFICIAL, (convolution_to_linear,)),
    "isotropic": Layout(ISOTROPIC, (convolution_to_linear,)),
    "dense": Layout(DENSE, (convolution_to_linear,)),
    "timm": Layout(TIMM, (convolution_to_linear,)),
    "torchvision": Layout(TORCHVISION, (map_scale_to_vector,), (vector_scale_to_map,)),
    "transformers": Layout(TRANSFORMERS),
}
_NAMES = tuple(name for name in _LAYOUTS if name != "isotropic")  # which is official too

# --- which layout ----------------------------------------------------------------------------------------------------

_SIGNS = {
    "muntin": r"backbone\.stages\.\d+\.\d+\.mlp\.fc1\..*",  # the dwconv before it is called the same in detectors
    "transformers": r"(convnext\.)?encoder\.stages\.\d+\.layers\.\d+\.dwconv\..*",
    "torchvision": r"features\.\d+\.\d+\.layer_scale",
    "timm": r"stages[._]\d+\.blocks\.\d+\.conv_dw\..*",
    "official": r"(stages\.\d+|blocks)\.\d+\.pwconv1\..*",
}


def layout_of(keys: set[str]) -> str | None:
    """The layout of a file that has only heads around its backbone."""
    for layout, sign in _SIGNS.items():
        if layout == "muntin" and not any(".dwconv." in key for key in keys):
            continue
        if any(re.fullmatch(sign, key) for key in keys):
            levels = "norm0.weight" in keys or "norm.weight" not in keys  # a classifier has one norm, the last
            return "dense" if layout == "official" and levels and not _isotropic(keys) else layout
    return None


def _isotropic(keys: Iterable[str]) -> bool:
    """Whether they are of a model of one stage, under official names or ours."""
    keys = set(keys)
    ours = "backbone.patch_embed.proj.weight" in keys and "backbone.patch_embed.norm.weight" not in keys
    return ours or any(key.startswith("blocks.") for key in keys)


def _table_of(layout: str, keys: Iterable[str]) -> str:
    """The table for this layout: official isotropic models have names of their own."""
    return "isotropic" if layout == "official" and _isotropic(keys) else layout


# --- both directions -------------------------------------------------------------------------------------------------


def read(state: Mapping[str, Tensor], grid: tuple[int, ...] | None = None) -> Foreign:
    """The tensors of a file under our names. There is no position embedding, so `grid` says nothing here.

    Raises UserError for a file of no known layout, and for one with keys that its layout does not explain.
    """
    found = unwrap(state, layout_of)
    if found.layout == "transformers":
        found = found._replace(inside={key: name.removeprefix(_PREFIX) for key, name in found.inside.items()})
    return read_layout(state, _LAYOUTS, layout_of, "ConvNeXt", found, _table_of)[0]


def write(state: Mapping[str, Tensor], layout: str, settings: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
    """Our names to those of a layout that is not ours. settings: as for ViT; nothing here depends on them.

    Raises UserError for tensors that the layout has no place for.
    """
    if _isotropic(state) and layout in _NAMES[1:] and layout != "official":
        raise UserError(f"isotropic ConvNeXt are not known in the {layout} layout; write the official one")
    renamed = write_layout(state, _LAYOUTS, layout, _table_of)
    if layout != "transformers" or any(key.startswith("hidden_states_norms.") for key in renamed):
        return renamed
    return {key if key.startswith("classifier.") else _PREFIX + key: tensor for key, tensor in renamed.items()}


def sizes(tensors: Mapping[str, Tensor]) -> Sizes:
    """What shapes tell. The first value of the scales, which they do not tell, is the published one. Under our names.

    Raises KeyError, IndexError, ValueError or ZeroDivisionError if tensors that tell the sizes are missing.
    """
    t = tensors
    depths = depths_of(t)
    kernel = t["backbone.patch_embed.proj.weight"]
    fields: dict[str, Any] = {
        "patch": tuple(kernel.shape[2:]),
        "in_chans": kernel.shape[1],
        "dims": tuple(len(t[f"backbone.stages.{stage}.0.norm.weight"]) for stage in range(len(depths))),
        "depths": depths,
        "patch_norm": "backbone.patch_embed.norm.weight" in t,
        "layer_scale": 1e-6 if "backbone.stages.0.0.scale.gamma" in t else 0.0,
    }
    return Sizes("convnext", *kind_of(t), fields)


# --- configs ---------------------------------------------------------------------------------------------------------


def told_by_transformers(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Returns nothing; raises UserError for another activation than the exact GELU."""
    if config.get("model_type") == "convnext":
        told.gelu(config, known=("erf",))
    return {}


def convnext_of_transformers(config: Any, kind: str) -> dict[str, Any]:
    """The config class of transformers. Raises UserError for isotropic models and for patches that are not square."""
    if len(config.dims) == 1:
        raise UserError("transformers has no isotropic ConvNeXt; write another layout")
    return {
        **architecture("ConvNext", kind),
        "model_type": "convnext",
        "patch_size": one_side("patch", {config.patch}),
        "num_stages": len(config.dims),
        "hidden_sizes": list(config.dims),
        "depths": list(config.depths),
        "hidden_act": "gelu",
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-6,
        "layer_scale_init_value": config.layer_scale,
        "drop_path_rate": 0.0,
    }


FILES = Files(
    title="ConvNeXt",
    layouts=_NAMES,
    layout_of=layout_of,
    read=read,
    write=write,
    sizes=sizes,
    inside={"official": "model", "dense": "state_dict"},
    told_by_transformers=told_by_transformers,
)
