"""What other projects store differently in Swin and Swin V2, beyond names.

All functions work on our names, in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from muntin.errors import UserError

from .layout import State
from .rewrites import is_v2

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
