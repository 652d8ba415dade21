"""Foreign checkpoints of Swin and Swin V2: recognised by their keys, read under our names, written under theirs.

- `official`: the classifier of microsoft/Swin-Transformer; also timm before 0.9;
- `dense`: the backbone of its detection and segmentation code (`norm0..3`);
- `simmim`: its pre-training files (`encoder.*`, `decoder.*`);
- `timm`: 0.9 and later, classifier or `features_only`;
- `torchvision`;
- `transformers`: for image classification, for masked image modelling, backbone, or the bare model;
- `openmmlab`: the zoo of mmdet from 2.16, mmseg from 0.17, mmpretrain;
- `muntin`: ours.

Names stand in `swin_names`. Nothing is resized here: `weights.fit` does that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from muntin.errors import UserError

from . import rewrites as shared
from . import swin_names as names
from .layout import Files, Foreign, Layout, Sizes, State, depths_of, kind_of, read_layout, write_layout
from .rewrites import is_v2
from .swin_names import LAYOUTS, layout_of, table_of
from .swin_windows import settings_of, told_by_ours, told_by_transformers
from .transformers_config import architecture, one_side
from .wrapped import unwrap

EMBEDDING = "backbone.absolute_position.embedding"


# --- the bias of keys -----------------------------------------------------------------------------------------------


def drop_key_bias(state: State) -> None:
    """torchvision's V2 stores a whole qkv bias and sets its middle third, the keys', to zero in every forward pass."""
    if is_v2(state):
        for key in [k for k in state if k.endswith(".qkv.bias")]:
            q_bias, _, v_bias = state.pop(key).unflatten(0, (3, -1))
            qkv = key.removesuffix("bias")
            state[f"{qkv}q_bias"], state[f"{qkv}v_bias"] = q_bias.clone(), v_bias.clone()


def add_key_bias(state: State) -> None:
    """The reverse of `drop_key_bias`."""
    for key in [k for k in state if k.endswith(".qkv.q_bias")]:
        qkv = key.removesuffix("q_bias")
        q_bias, v_bias = state.pop(key), state.pop(f"{qkv}v_bias")
        state[f"{qkv}bias"] = torch.cat((q_bias, torch.zeros_like(q_bias), v_bias))


# --- patch merging ---------------------------------------------------------------------------------------------------

# the four neighbours: ours, as the official ones, are the columns (0,0), (1,0), (0,1), (1,1); nn.Unfold goes row by row
_TURNED = [0, 2, 1, 3]


def unfold_to_neighbours(state: State) -> None:
    """OpenMMLab merges patches with nn.Unfold, whose channels are (channel, neighbour); ours are (neighbour, channel).

    V1's norm comes before the linear map and is permuted with its columns; V2's comes after it.
    """
    _reorder_merging(state, lambda t: t.unflatten(-1, (-1, 4)).mT[..., _TURNED, :].flatten(-2))


def neighbours_to_unfold(state: State) -> None:
    """The reverse of `unfold_to_neighbours`."""
    _reorder_merging(state, lambda t: t.unflatten(-1, (4, -1))[..., _TURNED, :].mT.flatten(-2))


def _reorder_merging(state: State, reorder: Callable[[Tensor], Tensor]) -> None:
    v2 = is_v2(state)
    for key in state:
        if key.startswith("backbone.merges.") and (key.endswith(".reduction.weight") or (not v2 and ".norm." in key)):
            state[key] = reorder(state[key])


# --- embeddings and the pre-training head ----------------------------------------------------------------------------


def embedding_to_grid(state: State, grid: tuple[int, ...] | None) -> None:
    """(1, L, C) of classifiers or (1, C, H, W) of dense backbones -> (H, W, C).

    grid: cells along each axis; a square where it is not given or of another resolution.
    """
    if EMBEDDING not in state:
        return
    embedding = state[EMBEDDING]
    if embedding.ndim not in (3, 4) or len(embedding) != 1:
        raise UserError(
            f"the absolute embedding is of shape {tuple(embedding.shape)}; it should be (1, L, C) or (1, C, H, W)"
        )
    if embedding.ndim == 4:
        state[EMBEDDING] = embedding[0].movedim(0, -1)
        return
    L = embedding.shape[1]
    if grid is None or math.prod(grid) != L:
        grid = (math.isqrt(L),) * 2
    if math.prod(grid) != L:
        raise UserError(
            f"an absolute embedding of {L} cells is of no square grid; build the model with the absolute_position "
            "that it was made for"
        )
    state[EMBEDDING] = embedding[0].unflatten(0, grid)


def grid_to_sequence(state: State) -> None:
    """(H, W, C) -> (1, L, C)."""
    if EMBEDDING in state:
        state[EMBEDDING] = state[EMBEDDING].flatten(0, -2)[None]


def grid_to_map(state: State) -> None:
    """(H, W, C) -> (1, C, H, W)."""
    if EMBEDDING in state:
        state[EMBEDDING] = state[EMBEDDING].movedim(-1, 0)[None]


# --- the last norm ---------------------------------------------------------------------------------------------------


def last_norm_to_readout(state: State) -> None:
    """An OpenMMLab classifier calls its last norm after the level that it follows, as dense backbones do."""
    norms = [key for key in state if key.startswith("norms.norms.")]
    if "readout.head.weight" in state and len({key.split(".")[2] for key in norms}) == 1:
        for key in norms:
            state[f"readout.norm.{key.rsplit('.')[-1]}"] = state.pop(key)


def readout_norm_to_last(state: State) -> None:
    """The reverse of `last_norm_to_readout`."""
    levels = [int(key.split(".")[2]) for key in state if key.startswith("backbone.stages.")]
    for name in ("weight", "bias"):
        if f"readout.norm.{name}" in state:
            state[f"norms.norms.{max(levels)}.{name}"] = state.pop(f"readout.norm.{name}")


# --- both directions --------------------------------------------------------------------------------------------------

_PRETRAINING = (shared.flatten_pretraining,)
_ZOO = (
    (unfold_to_neighbours, last_norm_to_readout),
    (neighbours_to_unfold, readout_norm_to_last, grid_to_map),
)
_LAYOUTS = {
    "muntin": Layout(names.OURS),
    "official": Layout(names.OFFICIAL, (), (grid_to_sequence,)),
    "dense": Layout(names.DENSE, (), (grid_to_map,)),
    "simmim": Layout(names.SIMMIM, _PRETRAINING, (shared.unflatten_pretraining, grid_to_sequence)),
    "timm": Layout(names.TIMM),  # knows no absolute embedding
    "torchvision": Layout(names.TORCHVISION, (drop_key_bias,), (add_key_bias,)),
    "transformers": Layout(
        names.TRANSFORMERS,
        (shared.join_qkv, *_PRETRAINING, shared.norm_to_pretraining),
        (
            shared.norm_from_pretraining,
            shared.unflatten_pretraining,
            shared.split_qkv,
            grid_to_sequence,
        ),
    ),
    "openmmlab": Layout(names.OPENMMLAB, *_ZOO),
    "openmmlab V2": Layout(names.OPENMMLAB_V2, *_ZOO),
}


def read(state: Mapping[str, Tensor], grid: tuple[int, ...] | None = None) -> Foreign:
    """The tensors of a file under our names, and what else it tells.

    grid: tokens along each axis of an absolute embedding stored as a sequence, if it has so many; any other is square.
    Raises UserError for a file of no known layout, and for one with keys that its layout does not explain.
    """
    found = unwrap(state, layout_of)
    if found.layout == "transformers":
        inside, unused = _without_transformers_prefix(found.inside)
        found = found._replace(inside=inside, aside=found.aside | unused)
    to_grid = partial(embedding_to_grid, grid=grid)
    layouts = {
        name: layout if name == "muntin" else layout._replace(read=(*layout.read, to_grid))
        for name, layout in _LAYOUTS.items()
    }
    foreign, with_buffers = read_layout(state, layouts, layout_of, "Swin", found, table_of)
    return foreign._replace(settings=settings_of(with_buffers))


def write(state: Mapping[str, Tensor], layout: str, settings: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
    """Our names to those of a layout, without the buffers that follow from sizes.

    settings: fields of the model's config that its tensors do not tell; there are none here.
    Raises UserError for tensors that the layout has no place for.
    """
    v2 = is_v2(state)
    if v2 and (frozen := [k for k in state if k.endswith(".position.table")]):
        raise UserError(
            f"the position bias of this Swin V2 is frozen into tables ({frozen[0]}), which no other project reads; "
            "convert the model from before it was frozen"
        )
    renamed = write_layout(state, _LAYOUTS, layout, table_of)
    if layout == "transformers":
        return _with_transformers_prefix(renamed, v2)
    if layout == "openmmlab" and "head.fc.weight" in renamed:  # a whole classifier
        return {k if k.startswith("head.") else f"backbone.{k}": tensor for k, tensor in renamed.items()}
    return renamed


# --- prefixes --------------------------------------------------------------------------------------------------------


def _without_transformers_prefix(inside: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Strip `swin.` or `swinv2.`; a backbone has norms of its levels, and a last one that no map passes through."""
    bare = {k: name.removeprefix("swin.").removeprefix("swinv2.") for k, name in inside.items()}
    levels = any(name.startswith("hidden_states_norms.") for name in bare.values())
    unused = {k: "no level of a backbone uses it" for k, n in bare.items() if levels and n.startswith("layernorm.")}
    return {k: name for k, name in bare.items() if k not in unused}, unused


def _with_transformers_prefix(state: dict[str, Tensor], v2: bool) -> dict[str, Tensor]:
    """Put the family's name before all but heads, except in a backbone, which is the family itself."""
    if any(key.startswith("hidden_states_norms.") for key in state):
        if v2:
            raise UserError("the Swin V2 backbone of transformers has no norms of its levels; write another layout")
        return state
    family = "swinv2." if v2 else "swin."
    return {k if k.startswith(("classifier.", "decoder.")) else family + k: t for k, t in state.items()}


# --- kinds and configs ------------------------------------------------------------------------------------------------


def mismatch(used: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """Name a file of the other version, and a file with a frozen position bias for a model without one."""
    held, needed = _kind(used), _kind(own)
    if held == needed:
        return ""
    hint = ", or build the model with frozen_bias=True" if is_v2(own) and held.startswith(f"{needed} ") else ""
    return f"holds a {held} and the model is a {needed}; give weights of its kind{hint}"


def _kind(tensors: Mapping[str, Tensor]) -> str:
    if not is_v2(tensors):
        return "Swin"
    frozen = any(key.endswith(".mix.position.table") for key in tensors)
    return "Swin V2 with a frozen position bias" if frozen else "Swin V2"


def swin_of_transformers(config: Any, kind: str) -> dict[str, Any]:
    """The config class of transformers. Raises UserError for patches and windows that are not square or that differ
    between stages.
    """
    return {**architecture("Swin", kind), "model_type": "swin", **_either(config)}


def swin_v2_of_transformers(config: Any, kind: str) -> dict[str, Any]:
    """The config class for V2; there the scale 0 of a position bias means the window in use."""
    scales = config.pretrained_window or ()
    told = [one_side("pretrained window", {w}) for w in scales] or [0] * len(config.depths)
    values = {"model_type": "swinv2", **_either(config), "pretrained_window_sizes": told}
    return {**architecture("Swinv2", kind), **values}


def _either(config: Any) -> dict[str, Any]:
    return {
        "patch_size": one_side("patch", {config.patch}),
        "embed_dim": config.dim,
        "depths": list(config.depths),
        "num_heads": list(config.heads),
        "window_size": one_side("window", {w if isinstance(w, tuple) else config.window for w in config.window}),
        "mlp_ratio": config.mlp_ratio,
        "qkv_bias": config.qkv_bias,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "drop_path_rate": 0.1,
        "hidden_act": "gelu",
        "use_absolute_embeddings": config.absolute_position is not None,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-5,
        "encoder_stride": config.patch[0] * 2 ** (len(config.depths) - 1),
    }


# --- sizes ------------------------------------------------------------------------------------------------------------


def sizes(tensors: Mapping[str, Tensor]) -> Sizes:
    """What shapes tell, except windows. tensors: under our names.

    Raises KeyError, IndexError, ValueError or ZeroDivisionError if tensors that tell the sizes are missing.
    """
    t = tensors
    depths = depths_of(t)
    v2 = is_v2(t)
    attention = [f"backbone.stages.{stage}.0.mix." for stage in range(len(depths))]
    kernel = t["backbone.patch_embed.proj.weight"]
    dim = kernel.shape[0]
    fields: dict[str, Any] = {
        "patch": tuple(kernel.shape[2:]),
        "in_chans": kernel.shape[1],
        "dim": dim,
        "depths": depths,
        "heads": tuple(len(t[f"{m}logit_scale"]) if v2 else t[f"{m}position.table"].shape[1] for m in attention),
        "mlp_ratio": len(t["backbone.stages.0.0.mlp.fc1.weight"]) / dim,
        "qkv_bias": any(f"{attention[0]}qkv.{bias}" in t for bias in ("bias", "q_bias")),
        "patch_norm": "backbone.patch_embed.norm.weight" in t,
    }
    if (embedding := t.get("backbone.absolute_position.embedding")) is not None:
        fields["absolute_position"] = tuple(embedding.shape[:-1])
    if v2:
        fields |= _extra_norms(t, depths) | {"frozen_bias": any(key.endswith(".position.table") for key in t)}
    kind, classes = kind_of(t)
    return Sizes("swin_v2" if v2 else "swin", kind, classes, fields)


def _extra_norms(tensors: Mapping[str, Tensor], depths: tuple[int, ...]) -> dict[str, Any]:
    """Period and scope of the norms on V2's main branch; none if no period explains the blocks that have one."""
    order = [(s, b) for s, depth in enumerate(depths) for b in range(depth)]
    having = {(s, b) for s, b in order if f"backbone.stages.{s}.{b}.main_norm.weight" in tensors}
    for period in range(1, len(order) + 1) if having else ():
        if having == {(s, b) for s, b in order if (b + 1) % period == 0}:
            return {"extra_norm_period": period, "extra_norm_scope": "stage"}
        if having == {block for i, block in enumerate(order) if (i + 1) % period == 0}:
            return {"extra_norm_period": period, "extra_norm_scope": "network"}
    return {"extra_norm_period": 0}


FILES = Files(
    title="Swin",
    layouts=LAYOUTS,
    layout_of=layout_of,
    read=read,
    write=write,
    sizes=sizes,
    inside={"official": "model", "dense": "model", "simmim": "model", "openmmlab": "state_dict"},
    told_by_ours=told_by_ours,
    told_by_transformers=told_by_transformers,
    mismatch=mismatch,
    tag="swin-transformer",
)
