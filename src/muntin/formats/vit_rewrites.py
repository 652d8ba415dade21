"""What other projects store differently in ViT, DeiT and SimMIM's BEiT, beyond names.

All functions work on our names, in place.
"""

from __future__ import annotations

import math
import re

import torch

from muntin.errors import UserError

from .layout import State
from .rewrites import join_qkv, split_qkv

TOKENS = ("backbone.prefix.class_token", "backbone.prefix.distillation_token")
PREFIX_POSITION, POSITION = "backbone.prefix.position", "backbone.position.embedding"


# --- tokens and positions --------------------------------------------------------------------------------------------


def positions_to_grid(state: State, grid: tuple[int, ...] | None = None) -> None:
    """Tokens (1, 1, C) -> (1, C); positions (1, P + H W, C) -> those of the tokens (P, C) and the grid (H, W, C).

    grid: cells along each axis; a square if it is not given or has another number of cells. In DeiT III, and without
    tokens, P is 0. Raises UserError if neither reading leaves a grid.
    """
    tokens = [name for name in TOKENS if name in state]
    for name in tokens:
        state[name] = state[name].flatten(0, 1)
    if POSITION not in state:
        return
    positions = state[POSITION]
    if positions.ndim != 3 or len(positions) != 1:
        raise UserError(f"the positions are of shape {tuple(positions.shape)}; they should be (1, L, C)")
    likely = 0 if "backbone.blocks.0.scale1.gamma" in state else len(tokens)
    prefix, size = _split(positions.shape[1], len(tokens), likely, grid)
    if prefix:
        state[PREFIX_POSITION] = positions[0, :prefix].clone()
    state[POSITION] = positions[0, prefix:].unflatten(0, size)


def _split(L: int, tokens: int, likely: int, grid: tuple[int, ...] | None) -> tuple[int, tuple[int, ...]]:
    """The most likely number of the L positions that belong to tokens, and the grid of the others."""
    for prefix in (likely, tokens - likely):
        if grid and math.prod(grid) == L - prefix:
            return prefix, grid
        if prefix < L and math.isqrt(L - prefix) ** 2 == L - prefix:
            return prefix, (math.isqrt(L - prefix),) * 2
    one = {0: "no token", 1: "a class token", 2: "a class token and a distillation token"}[tokens]
    raise UserError(
        f"the file has {one} and {L} positions, and neither {L - tokens} nor {L} cells are a square grid; build the "
        "model with the grid that the file was made for, or see whether a token is missing"
    )


def grid_to_positions(state: State) -> None:
    """The reverse of `positions_to_grid`."""
    for name in TOKENS:
        if name in state:
            state[name] = state[name][None]
    if POSITION in state:
        prefix = (state.pop(PREFIX_POSITION),) if PREFIX_POSITION in state else ()
        state[POSITION] = torch.cat((*prefix, state[POSITION].flatten(0, -2)))[None]


# --- JAX -------------------------------------------------------------------------------------------------------------


def heads_of(state: State) -> int:
    """Heads of the attention, from the (C, h, D) of JAX's kernels under our names."""
    return next((t.shape[1] for key, t in state.items() if key.endswith(".mix.qkv.query.weight") and t.ndim == 3), 0)


def from_jax(state: State) -> None:
    """JAX stores inputs before outputs, heads on an axis of their own, and in older files norms of (1, 1, 1, C)."""
    for key, tensor in state.items():
        if re.search(r"\.mix\.qkv\.(query|key|value)\.", key):
            state[key] = tensor.flatten(-2).transpose(0, 1) if key.endswith("weight") else tensor.flatten()
        elif key.endswith(".mix.proj.weight"):
            state[key] = tensor.flatten(0, 1).transpose(0, 1)
        elif _is_convolution(key):
            state[key] = tensor.permute(3, 2, 0, 1)
        elif ".stem." in key:
            state[key] = tensor.flatten()
        elif _is_linear(key):
            state[key] = tensor.transpose(0, 1)
    join_qkv(state)


def to_jax(state: State, heads: int) -> None:
    """The reverse of `from_jax`, norms as today. Raises UserError for heads that do not divide the channels."""
    split_qkv(state)
    for key, tensor in state.items():
        if found := re.search(r"\.mix\.(qkv|proj)\.", key):
            if heads < 1 or tensor.shape[-1] % heads:
                raise UserError(f"{heads} heads do not divide the {tensor.shape[-1]} channels of {key}")
            turned = tensor.mT if key.endswith("weight") else tensor
            if found[1] == "qkv":
                state[key] = turned.unflatten(-1, (heads, -1))
            elif key.endswith("weight"):
                state[key] = turned.unflatten(0, (heads, -1))
        elif _is_convolution(key):
            state[key] = tensor.permute(2, 3, 1, 0)
        elif _is_linear(key):
            state[key] = tensor.mT


def _is_convolution(key: str) -> bool:
    return key == "backbone.patch_embed.proj.weight" or bool(re.search(r"\.stem\..*conv\w*\.weight", key))


def _is_linear(key: str) -> bool:
    return bool(re.search(r"\.(fc1|fc2|representation|head)\.weight", key))


# --- the last norm ---------------------------------------------------------------------------------------------------


def mean_norm_to_norm(state: State) -> None:
    """timm and BEiT use another name for a norm after the mean over the cells; in ours it is the readout's in either
    place.
    """
    _move(state, "readout.mean_norm", "readout.norm")


def norm_to_mean_norm(state: State) -> None:
    """The reverse of `mean_norm_to_norm`."""
    _move(state, "readout.norm", "readout.mean_norm")


def _move(state: State, old: str, new: str) -> None:
    for name in ("weight", "bias"):
        if f"{old}.{name}" in state:
            state[f"{new}.{name}"] = state.pop(f"{old}.{name}")
