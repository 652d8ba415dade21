"""What other projects store differently in more than one family, beyond names.

All functions work on our names, in place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from muntin.errors import UserError

from .layout import State

_PARTS = ("query", "key", "value")


def is_v2(state: Mapping[str, Tensor]) -> bool:
    """Whether these are of Swin V2, which has a temperature in every attention."""
    return any(key.endswith(".mix.logit_scale") for key in state)


def join_qkv(state: State) -> None:
    """transformers keeps three linear maps; ours is one. V2's keys have no bias."""
    parts = [found for key in state if (found := re.fullmatch(r"(.*\.qkv)\.(?:query|key|value)\.(weight|bias)", key))]
    for qkv, name in dict.fromkeys(found.groups() for found in parts):
        if name == "bias" and is_v2(state):
            state[f"{qkv}.q_bias"] = _take(state, f"{qkv}.query.bias")
            state[f"{qkv}.v_bias"] = _take(state, f"{qkv}.value.bias")
        else:
            state[f"{qkv}.{name}"] = torch.cat([_take(state, f"{qkv}.{part}.{name}") for part in _PARTS])


def split_qkv(state: State) -> None:
    """The reverse of `join_qkv`."""
    for key in [k for k in state if k.endswith((".qkv.weight", ".qkv.bias"))]:
        qkv, name = key.rsplit(".", 1)
        for part, tensor in zip(_PARTS, state.pop(key).unflatten(0, (3, -1))):
            state[f"{qkv}.{part}.{name}"] = tensor.clone()  # a file may not hold views of one storage
    for part, name in (("query", "q_bias"), ("value", "v_bias")):
        for key in [k for k in state if k.endswith(f".qkv.{name}")]:
            state[key.removesuffix(name) + f"{part}.bias"] = state.pop(key)


def _take(state: State, key: str) -> Tensor:
    if key not in state:
        raise UserError(f"the file has parts of an attention, but not all: {key} is missing")
    return state.pop(key)


def flatten_pretraining(state: State) -> None:
    """SimMIM's mask token has axes for batch and cells, and its decoder is a 1 x 1 convolution; ours is linear."""
    if "mask_token" in state:
        state["mask_token"] = state["mask_token"].flatten()
    if "decoder.weight" in state:
        state["decoder.weight"] = state["decoder.weight"].flatten(1)


def unflatten_pretraining(state: State) -> None:
    """The reverse of `flatten_pretraining`."""
    if "mask_token" in state:
        state["mask_token"] = state["mask_token"][None, None]
    if "decoder.weight" in state:
        state["decoder.weight"] = state["decoder.weight"][:, :, None, None]


def norm_to_pretraining(state: State) -> None:
    """transformers has one name for the last norm; ours is the readout's in a classifier, SimMIM's in pre-training."""
    for name in ("weight", "bias"):
        if "mask_token" in state and f"readout.norm.{name}" in state:
            state[f"norm.{name}"] = state.pop(f"readout.norm.{name}")


def norm_from_pretraining(state: State) -> None:
    """The reverse of `norm_to_pretraining`."""
    for name in ("weight", "bias"):
        if f"norm.{name}" in state:
            state[f"readout.norm.{name}"] = state.pop(f"norm.{name}")
