"""The windows that a checkpoint of Swin or Swin V2 was made for, from the tensors that follow from them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from muntin.errors import UserError

Windows = tuple[tuple[int, int], ...]


def stage_windows(state: Mapping[str, Tensor]) -> Windows | None:
    """The window of every stage, tokens; None where the file does not tell. state: under our names, with buffers.

    Bias tables and position indices tell square windows alone, coordinate tables any.
    """
    return _of_all_stages(state, _window)


def pretrained_windows(state: Mapping[str, Tensor]) -> Windows | None:
    """The windows that set the scale of V2's position bias; None where the file keeps no coordinates.

    A coordinate is log2(1 + 8 (w - 1) / (P - 1)) / 3 at the far end of a window w (Swin V2, eq. 4), solved for P.
    Raises UserError for coordinates that follow from no whole window.
    """
    return _of_all_stages(state, _pretrained_window)


def _of_all_stages(state, find) -> Windows | None:
    count = 1 + max((int(key.split(".")[2]) for key in state if key.startswith("backbone.stages.")), default=-1)
    found = [find(state, f"backbone.stages.{s}.0.mix.") for s in range(count)]
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
