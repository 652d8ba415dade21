"""The windows that a checkpoint of Swin or Swin V2 was made for, and those that set the scale of V2's position bias.

No tensor that a model has tells the scale. Official files and torchvision's keep what follows from both (`BUFFERS`);
config.json tells them in our folders and in those of transformers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from muntin.errors import UserError

from . import told
from .layout import State

Windows = tuple[tuple[int, int], ...]
_ATTENTION = {  # layouts whose files hold the buffers, and what stands before them
    "official": "layers.{s}.blocks.{b}.attn.",
    "dense": "layers.{s}.blocks.{b}.attn.",
    "simmim": "encoder.layers.{s}.blocks.{b}.attn.",
    "torchvision": "features.{odd}.{b}.attn.",
}


def settings_of(with_buffers: Mapping[str, Tensor]) -> dict[str, Any]:
    """`window` and `pretrained_window`, one a stage, if the tensors of a file tell them; under our names."""
    return _those_told(stage_windows(with_buffers), pretrained_windows(with_buffers))


def told_by_ours(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The windows from our config.json. `trained_windows` are those that V2 really used in training, on smaller
    maps.
    """
    stages, fields = _stages(tensors), config["config"] if isinstance(config.get("config"), dict) else {}
    windows = told.sides(config.get("trained_windows"), stages) or told.sides(fields.get("window"), stages)
    return _those_told(windows, told.sides(fields.get("pretrained_window"), stages))


def told_by_transformers(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The windows from transformers' config.json. They are square; maps lower than V2's window shrink it.

    Raises UserError for another activation than the exact GELU.
    """
    kind, stages = config.get("model_type"), _stages(tensors)
    if kind in ("swin", "swinv2"):
        told.gelu(config, known=("erf",))
    names = ("window_size", "image_size", "patch_size")
    windows, sizes = None, told.sides([config.get(name) for name in names], len(names))
    if kind == "swinv2" and sizes:
        (window, _), (height, _), (patch, _) = sizes
        windows = told.sides([min(window, height // patch // 2**stage) for stage in range(stages)], stages)
    return _those_told(windows, told.sides(config.get("pretrained_window_sizes"), stages))


def _stages(tensors: Mapping[str, Tensor]) -> int:
    return 1 + max((int(key.split(".")[2]) for key in tensors if key.startswith("backbone.stages.")), default=-1)


def _those_told(windows: Windows | None, scale: Windows | None) -> dict[str, Any]:
    return ({"window": windows} if windows else {}) | ({"pretrained_window": scale} if scale else {})


def buffers(
    layout: str, depths: Sequence[int], indices: Sequence[Tensor], coordinates: Sequence[Tensor] | None
) -> State:
    """What a layout stores of the windows of every block, under its names; nothing if it stores none.

    indices: of every stage, the row of the bias that each pair of tokens reads (N, N). coordinates: of every stage, of
    V2's offsets (2h - 1, 2w - 1, 2).
    """
    found: State = {}
    for stage, depth in enumerate(depths if layout in _ATTENTION else ()):
        for block in range(depth):
            prefix, index = _ATTENTION[layout].format(s=stage, odd=2 * stage + 1, b=block), indices[stage]
            found[f"{prefix}relative_position_index"] = index.flatten() if layout == "torchvision" else index
            if coordinates:
                found[f"{prefix}relative_coords_table"] = coordinates[stage][None]
    return found


# --- from buffers ----------------------------------------------------------------------------------------------------


def stage_windows(state: Mapping[str, Tensor]) -> Windows | None:
    """The window of every stage, tokens; None if the file does not tell. state: under our names, with buffers.

    Bias tables and position indices tell square windows only, coordinate tables any.
    """
    return _of_all_stages(state, _window)


def pretrained_windows(state: Mapping[str, Tensor]) -> Windows | None:
    """The windows that set the scale of V2's position bias; None if the file stores no coordinates.

    A coordinate is log2(1 + 8 (w - 1) / (P - 1)) / 3 at the far end of a window w (Swin V2, eq. 4), solved for P.
    Raises UserError for coordinates that follow from no whole window.
    """
    return _of_all_stages(state, _pretrained_window)


def _of_all_stages(state, find) -> Windows | None:
    found = [find(state, f"backbone.stages.{s}.0.mix.") for s in range(_stages(state))]
    return tuple(found) if found and None not in found else None


def _window(state: Mapping[str, Tensor], mix: str) -> tuple[int, int] | None:
    coordinates = state.get(mix + "relative_coords_table")
    if coordinates is not None and coordinates.ndim == 4:
        return (coordinates.shape[1] + 1) // 2, (coordinates.shape[2] + 1) // 2
    if (table := state.get(mix + "position.table")) is not None and table.ndim == 2:  # (2w - 1)^2 rows
        side = math.isqrt(len(table))
        return ((side + 1) // 2,) * 2 if side % 2 and side**2 == len(table) else None
    if (index := state.get(mix + "relative_position_index")) is not None:  # w^4 entries
        side = math.isqrt(math.isqrt(index.numel()))
        return (side, side) if side and side**4 == index.numel() else None
    return None


def _pretrained_window(state: Mapping[str, Tensor], mix: str) -> tuple[int, int] | None:
    coordinates = state.get(mix + "relative_coords_table")
    if coordinates is None:
        return None
    if coordinates.ndim != 4 or coordinates.shape[0] != 1 or coordinates.shape[3] != 2 or not coordinates.numel():
        raise UserError(f"the file's coordinates of {mix[:-5]} are of shape {tuple(coordinates.shape)}; it is damaged")
    farthest = coordinates[0, -1, -1].double().tolist()
    return tuple(  # type: ignore[return-value]
        _scale(end, (side + 1) // 2, mix) for end, side in zip(farthest, coordinates.shape[1:3], strict=True)
    )


def _scale(end: float, window: int, mix: str) -> int:
    """P for the coordinate at the far end of one axis."""
    if window == 1:  # its one offset is 0 on every scale, and 0 / 0 in official files
        return 1
    if not 0 < end < 8:  # also not a number
        raise UserError(f"the file's coordinates of {mix[:-5]} end at {end}, which no window has; it is damaged")
    scale = 1 + 8 * (window - 1) / (2 ** (3 * end) - 1)
    if round(scale) < 2 or abs(scale - round(scale)) > 0.25:  # half precision is off by a tenth
        raise UserError(f"the file's coordinates of {mix[:-5]} belong to a window of {scale:.2f} tokens; it is damaged")
    return round(scale)
