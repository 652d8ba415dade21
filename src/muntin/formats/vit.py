"""Foreign checkpoints of ViT and DeiT: recognised by their keys, read under our names, written under theirs.

- `official`: the arrays of google-research/vision_transformer (.npz), with the published numbers of a block's parts or
  with those of today's Flax; hybrids too;
- `timm`: also facebookresearch/deit, distilled or not, and MAE's files, whose decoder is left aside;
- `deit3`: the DeiT III of facebookresearch/deit;
- `simmim`: a pre-trained plain ViT, as SimMIM names its encoders;
- `torchvision`;
- `transformers`: ViT and DeiT, for image classification (also with teacher), for masked image modelling, or bare;
- `muntin`: ours.

Names stand in `vit_names`, changes of the tensors in `vit_rewrites`. Nothing is resized here: `weights.fit` does that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor

from muntin.errors import UserError, unknown

from . import told
from . import vit_names as names
from . import vit_rewrites as rewrites
from .layout import Files, Foreign, Layout, Sizes, depths_of, kind_of, read_layout, write_layout
from .rewrites import (
    flatten_pretraining,
    join_qkv,
    norm_from_pretraining,
    norm_to_pretraining,
    split_qkv,
    unflatten_pretraining,
)
from .transformers_config import architecture, one_side
from .vit_rewrites import PREFIX_POSITION, TOKENS
from .wrapped import Unwrapped, unwrap

_LAYOUTS = {
    "muntin": Layout(names.OURS),
    "official": Layout(names.OFFICIAL, (rewrites.from_jax,)),
    "timm": Layout(names.TIMM, (rewrites.mean_norm_to_norm,)),
    "deit3": Layout(names.DEIT3, (rewrites.mean_norm_to_norm,)),
    "simmim": Layout(names.SIMMIM, (flatten_pretraining,), (unflatten_pretraining,)),
    "torchvision": Layout(names.TORCHVISION),
    "transformers": Layout(
        names.TRANSFORMERS,
        (join_qkv, flatten_pretraining, norm_to_pretraining),
        (norm_from_pretraining, unflatten_pretraining, split_qkv),
    ),
}
_WRITABLE = tuple(_LAYOUTS)[1:]  # ours needs no writing

_SIGNS = {
    "muntin": r"backbone\.blocks\.\d+\.mix\.qkv\.weight",
    "official": r"Transformer/encoderblock_\d+/MultiHeadDotProductAttention_[01]/query/kernel",
    "torchvision": r"encoder\.layers\.encoder_layer_\d+\.self_attention\.in_proj_weight",
    "transformers": r"(vit\.|deit\.)?(encoder\.)?layers?\.\d+\.attention\.(attention\.query|q_proj)\.weight",
    "simmim": r"encoder\.blocks\.\d+\.attn\.qkv\.weight",
    "timm": r"blocks\.\d+\.attn\.qkv\.weight",
}
_BESIDE = {  # what tells a ViT from others with the same names inside its blocks
    "muntin": r"backbone\.position\.embedding",
    "transformers": r"(vit\.|deit\.)?embeddings\.position_embeddings",
    "simmim": r"encoder\.pos_embed",
    "timm": "pos_embed",
}
_GELU = {"official": "tanh", "torchvision": "erf"}  # code that knows no other
_RESAMPLE = {"official": "bilinear_corners"}  # all others bicubic; timm from 0.9 on antialiases too
_MAE = re.compile(r"decoder_\w+(\..*)?|decoder\.(decoder_\w+|mask_token)(\..*)?")


def read(state: Mapping[str, Tensor], grid: tuple[int, ...] | None = None) -> Foreign:
    """The tensors of a file under our names, and what else it tells.

    grid: cells along each axis of the positions, if they have so many; any other is square.
    Settings tell the GELU and how positions are resized, by whose file it is; what is classified ("readout"); and the
    heads, where the file tells them: `official` alone.
    Raises UserError for a file of no known layout, for one with keys that its layout does not explain, and for
    positions that leave no grid.
    """
    found = unwrap(state, _layout_of)
    if found.layout == "transformers":
        found = _without_prefix(found)
    found = _without_decoder(found)
    to_grid = partial(rewrites.positions_to_grid, grid=grid)
    layouts = {
        name: layout if name == "muntin" else layout._replace(read=(*layout.read, to_grid))
        for name, layout in _LAYOUTS.items()
    }
    foreign, as_stored = read_layout(state, layouts, _layout_of, "ViT", found)
    if foreign.layout == "muntin":
        return foreign
    mean_norm = "readout.mean_norm.weight" in as_stored
    token = TOKENS[0] in as_stored
    settings: dict[str, Any] = {
        "gelu": _GELU.get(foreign.layout, "erf"),
        "position_resample": _RESAMPLE.get(foreign.layout, "bicubic"),
        "readout": "mean_norm" if mean_norm else "token" if token else "gap",
    }
    settings |= {"heads": heads} if (heads := rewrites.heads_of(as_stored)) else {}
    return foreign._replace(settings=settings)


def write(state: Mapping[str, Tensor], layout: str, settings: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
    """Our names to those of a layout that is not ours. `official` needs no transposing later: save it as .npz.

    settings: fields of the model's config that its tensors do not tell: "heads", which `official` cannot be written
    without; "readout"; "gelu". Where they are not given, the class token is read if there is one.
    Raises UserError for what the layout has no place for. timm and transformers compute the exact GELU unless they are
    told (act_layer="gelu_tanh", hidden_act="gelu_pytorch_tanh").
    """
    if layout not in _WRITABLE:
        raise unknown("layout to write", layout, _WRITABLE)
    settings = settings or {}
    _check_place(state, layout, settings)
    known = _LAYOUTS[layout]
    rest: tuple = (rewrites.grid_to_positions,)
    if layout == "official":
        rest += (partial(rewrites.to_jax, heads=settings["heads"]),)
    elif settings.get("readout") == "mean_norm":
        rest += (rewrites.norm_to_mean_norm,)
    written = write_layout(state, {layout: known._replace(write=(*known.write, *rest))}, layout)
    if layout == "transformers":
        return _with_prefix(written)
    if layout == "timm" and not any(".stages." in key for key in written):  # a hybrid's root alone has no name
        return {key.replace("patch_embed.backbone.stem.", "patch_embed.backbone."): t for key, t in written.items()}
    return written


def _layout_of(keys: set[str]) -> str | None:
    """The layout of a file that has only heads around its backbone."""
    for layout, sign in _SIGNS.items():
        beside = _BESIDE.get(layout, "")
        if not any(re.fullmatch(sign, key) for key in keys):
            continue
        if beside and not any(re.fullmatch(beside, key) for key in keys):
            return None
        if layout == "simmim" and not {"encoder.mask_token", "decoder.0.weight"} & keys:
            return None  # an encoder alone
        return "deit3" if layout == "timm" and "blocks.0.gamma_1" in keys else layout
    return None


def _check_place(state: Mapping[str, Tensor], layout: str, settings: Mapping[str, Any]) -> None:
    """Raise UserError for what the layout, or the code that reads it, cannot express."""
    class_token = TOKENS[0] in state
    readout = settings.get("readout", "token" if class_token else "gap")
    representation, head = "readout.representation.weight" in state, "readout.head.weight" in state
    gelu = settings.get("gelu", _GELU.get(layout))
    like_timm = layout in ("timm", "deit3", "simmim")
    if layout == "official" and not settings.get("heads"):
        raise UserError(
            "the official layout stores attention by heads, and tensors do not tell how many there are; give heads in "
            "settings"
        )
    why = ""
    if gelu != _GELU.get(layout, gelu):
        why = f"belongs to code that computes GELU by '{_GELU[layout]}', and this model has '{gelu}'"
    elif layout in ("torchvision", "transformers") and PREFIX_POSITION not in state:
        why = "has no place for a model without a class token, nor for one whose class token has no position"
    elif readout == "mean_norm" and not like_timm:
        why = "knows no norm after the mean over the cells"
    elif readout == "gap" and class_token and not like_timm:
        why = "belongs to code that classifies by the class token where there is one"
    elif representation and (like_timm or (layout == "transformers" and head)):
        why = "knows no layer between the last norm and the classifier"
    if why:
        raise UserError(f"the {layout} layout {why}; write another layout")


# --- prefixes and other parts ----------------------------------------------------------------------------------------


def _without_decoder(found: Unwrapped) -> Unwrapped:
    """Leave out MAE's decoder behind the encoder, and its mask token."""
    decoder = {key for key, name in found.inside.items() if _MAE.fullmatch(name)}
    decoder |= {key for key, name in found.inside.items() if decoder and name == "mask_token"}
    inside = {key: name for key, name in found.inside.items() if key not in decoder}
    return found._replace(inside=inside, aside=found.aside | dict.fromkeys(decoder, "of MAE's decoder"))


def _without_prefix(found: Unwrapped) -> Unwrapped:
    """Strip `vit.` or `deit.`; a bare DeiT has a pooler that no head reads."""
    bare = {key: name.removeprefix("vit.").removeprefix("deit.") for key, name in found.inside.items()}
    distilled = "embeddings.distillation_token" in bare.values()
    unused = {key: "no head reads it" for key, name in bare.items() if distilled and name.startswith("pooler.")}
    inside = {key: name for key, name in bare.items() if key not in unused}
    return found._replace(inside=inside, aside=found.aside | unused)


def _with_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """All but heads stand under the family's name, DeiT's where there is a distillation token."""
    distilled = "embeddings.distillation_token" in state
    two_heads = "distillation_classifier.weight" in state
    family = "deit." if distilled else "vit."
    named = {}
    for key, tensor in state.items():
        if key.startswith(("classifier.", "distillation_classifier.", "decoder.")):
            named[f"cls_{key}" if two_heads and key.startswith("classifier.") else key] = tensor
        else:
            named[family + key] = tensor
    return named


# --- kinds and configs ------------------------------------------------------------------------------------------------


def mismatch(used: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """Name a file of a model with a distillation token if ours has none, and the reverse."""
    token = TOKENS[1]
    if token in used and token not in own:
        return (
            "holds a distilled model, with a distillation token and a head for it, and the model has none; create the "
            "model under its distilled name"
        )
    if used and token in own and token not in used:
        return (
            "holds a model without a distillation token, and the model has one and a head for it; create the model "
            "under its plain name"
        )
    return ""


def otherwise(layout: str, settings: Mapping[str, Any]) -> str:
    """A note for code with timm's names, which computes the exact GELU unless it is set otherwise."""
    if layout in ("timm", "simmim", "deit3") and settings["gelu"] == "tanh":
        return "the model has the approximate GELU, and timm's the exact one unless made with act_layer='gelu_tanh'"
    return ""


def told_by_transformers(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """GELU and heads. Raises UserError for an activation that muntin does not have."""
    if config.get("model_type") not in ("vit", "deit", "vit_mae", "vit_msn"):
        return {}
    heads = told.plain(config, ("num_attention_heads",))
    return {"gelu": told.gelu(config), **({"heads": heads["num_attention_heads"]} if heads else {})}


def vit_of_transformers(config: Any, kind: str) -> dict[str, Any]:
    """The config class of transformers. Raises UserError for patches that are not square."""
    return {**architecture("ViT", kind), "model_type": "vit", **_either(config)}


def deit_of_transformers(config: Any, kind: str) -> dict[str, Any]:
    """The config class for DeiT, which always has a distillation token."""
    if not config.distilled:
        return vit_of_transformers(config, kind)
    (reader,) = architecture("DeiT", kind)["architectures"]
    reader = reader.replace("ForImageClassification", "ForImageClassificationWithTeacher")
    return {"architectures": [reader], "model_type": "deit", **_either(config)}


def _either(config: Any) -> dict[str, Any]:
    return {
        "patch_size": one_side("patch", {config.patch}),
        "hidden_size": config.dim,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "intermediate_size": int(config.dim * config.mlp_ratio),
        "qkv_bias": True,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "hidden_act": "gelu" if config.gelu == "erf" else "gelu_pytorch_tanh",
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-6,
        "encoder_stride": config.patch[0],
    }


# --- sizes ------------------------------------------------------------------------------------------------------------


def sizes(tensors: Mapping[str, Tensor]) -> Sizes:
    """What shapes tell; they do not tell the number of heads and what is classified. tensors: under our names.

    Raises KeyError, IndexError, ValueError or ZeroDivisionError if tensors that tell the sizes are missing.
    """
    t = tensors
    kernel = t["backbone.patch_embed.proj.weight"]
    dim, tokens = kernel.shape[0], "backbone.prefix.class_token" in t
    representation = t.get("readout.representation.weight")
    fields: dict[str, Any] = {
        "patch": tuple(kernel.shape[2:]),
        "in_chans": kernel.shape[1],
        "dim": dim,
        "depth": count(t, "backbone.blocks."),
        "mlp_ratio": t["backbone.blocks.0.mlp.fc1.weight"].shape[0] / dim,
        "grid": tuple(t["backbone.position.embedding"].shape[:-1]),
        "class_token": tokens,
        "representation": representation.shape[0] if representation is not None else 0,
    }
    fields |= {} if tokens else {"readout": "gap"}
    family = "vit"
    if "backbone.stem.root.conv.weight" in t:
        root = t["backbone.stem.root.conv.weight"]
        units = depths_of(t, "backbone.stem.stages.")
        fields |= {"in_chans": root.shape[1], "stem": units, "stem_width": root.shape[0]}
        family = "vit_hybrid"
    elif "backbone.blocks.0.scale1.gamma" in t:
        family = "deit3"
    elif "backbone.prefix.distillation_token" in t:
        fields["distilled"] = True
        family = "deit"
    return Sizes(family, *kind_of(t), fields)


def count(tensors: Mapping[str, Tensor], start: str) -> int:
    """How many numbers follow `start` in the names, if they are counted from 0."""
    return 1 + max((int(key[len(start) :].split(".")[0]) for key in tensors if key.startswith(start)), default=-1)


FILES = Files(
    title="ViT",
    layouts=tuple(_LAYOUTS),
    layout_of=_layout_of,
    read=read,
    write=write,
    sizes=sizes,
    inside={"deit3": "model", "simmim": "model"},
    arrays=("official",),
    pixels={"official": ((0.5,) * 3, (0.5,) * 3)},
    settings=("gelu", "position_resample", "heads", "readout"),
    told_by_transformers=told_by_transformers,
    mismatch=mismatch,
    otherwise=otherwise,
)
