"""Makes the tensors of a checkpoint fit another window, resolution, number of classes or number of input channels.

All names are ours; renaming is done elsewhere (`swin.py`, `vit.py`, ...). A position bias of Swin V2 needs nothing for
another window, because its network gives values for any. Positions on a grid, those of Swin and of ViT, are resized by
`ops.resample.resize_grid`; positions of tokens before the grid do not change.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from muntin.catalog import BiasTables, Family
from muntin.errors import UserError
from muntin.ops.resample import Resample, resize_bias_table, resize_grid
from muntin.ops.windows import Size

Rule = Literal["bicubic", "geometric"]
RULES: tuple[Rule, ...] = ("bicubic", "geometric")

_NORM, _HEADS = "readout.norm.weight", ("readout.head", "readout.head_distilled")


class Change(NamedTuple):
    """A tensor made for another shape."""

    tensor: Tensor
    what: str  # "window", "image_size" or "in_chans"
    why: str  # such as "7x7 -> 12x12 window, bicubic"


def fit(
    state: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    family: Family,
    config: Any,
    rule: Rule,
    told: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Change]:
    """Resize the bias tables, position embedding and patch kernels of `state` that have another shape in `wanted`.

    wanted: tensors of the model; only their shapes count. family, config: of the model. told: fields that the state's
    file tells, such as its windows (square if it does not tell) and the way to resize positions. What differs in any
    other way, such as in its heads, is left out.
    """
    changes = {}
    resample: Resample = told.get("position_resample", "bicubic")
    for key, tensor in state.items():
        if key not in wanted or tensor.ndim != wanted[key].ndim:
            continue
        old, new = tensor.shape, wanted[key].shape
        if family.tables and (named := re.fullmatch(family.tables.keys, key)) and old[1] == new[1]:
            stage, windows = int((*named.groups(), 0)[0]), told.get(family.tables.field)
            known, window = windows and windows[stage], family.tables.windows(config)[stage]
            if old != new or (known and known != window):
                changes[key] = _fit_table(tensor, family.tables, known, window, rule)
        elif key == family.positions and old != new and old[-1] == new[-1]:
            why = f"{by(old[:-1])} -> {by(new[:-1])} tokens, {resample}"
            changes[key] = Change(resize_grid(tensor, tuple(new[:-1]), resample), "image_size", why)
        elif key == family.patch_kernel and old != new and (old[0], *old[2:]) == (new[0], *new[2:]):
            why = f"{old[1]} -> {new[1]} input channels, the response to grey pictures kept"
            changes[key] = Change(adapt_channels(tensor, new[1]), "in_chans", why)
    return changes


def _fit_table(table: Tensor, tables: BiasTables, old: Size | None, new: Size, rule: Rule) -> Change:
    """A bias table for another window; the window that it was made for is square if it is not known."""
    old = old or square_window(table[: len(table) - tables.last_rows])
    unit = "window" if tables.option == "window" else "tokens"
    resized = resize_table(table, new, rule, old, tables.last_rows)
    return Change(resized, tables.option, f"{by(old)} -> {by(new)} {unit}, {rule}")


def by(size: Sequence[int]) -> str:
    """A size in words: 7x7."""
    return "x".join(map(str, size))


# --- window ----------------------------------------------------------------------------------------------------------


def resize_table(
    table: Tensor, to_window: Size, rule: Rule = "bicubic", from_window: Size | None = None, last_rows: int = 0
) -> Tensor:
    """A relative position bias table for another window: (prod(2 * from - 1), h) -> (prod(2 * to - 1), h).

    bicubic: on equally spaced offsets, the official rule of Swin for fine-tuning at another window and for detection.
    geometric: the rule of SimMIM's fine-tuning. A cubic spline through the old values, which are put at offsets that
    grow like a geometric progression: near ones keep their distance, far ones are spread over the new window.
    from_window: default square. last_rows: rows that follow those of the offsets, such as BEiT's three of the class
    token; they stay. Raises UserError for a table of no square window, and for the geometric rule where an axis has
    fewer than 4 offsets to lay a cubic spline through.
    """
    if last_rows:
        offsets, last = table[:-last_rows], table[-last_rows:]
        return torch.cat((resize_table(offsets, to_window, rule, from_window), last))
    from_window = from_window or square_window(table)
    if math.prod(2 * w - 1 for w in from_window) != len(table):
        raise UserError(f"a bias table of {len(table)} offsets is not one of window {by(from_window)}")
    if rule == "bicubic":
        return resize_bias_table(table, from_window, to_window)
    grid = table.unflatten(0, [2 * w - 1 for w in from_window]).double()
    for axis, (old, new) in enumerate(zip(from_window, to_window)):
        if old != new:
            grid = torch.tensordot(_geometric(old, new), grid, ([1], [axis])).movedim(0, axis)
    return grid.flatten(0, len(to_window) - 1).to(table.dtype).contiguous()


def square_window(table: Tensor) -> Size:
    """The window of a bias table, if it is a square one of two axes."""
    side = math.isqrt(len(table))
    if side**2 != len(table) or side % 2 == 0:
        raise UserError(
            f"a bias table of {len(table)} offsets belongs to no square window; load it from a model folder, "
            "whose config.json names the window"
        )
    return ((side + 1) // 2,) * 2


def _geometric(old: int, new: int) -> Tensor:
    """From values at the offsets of one side of a window to those of another: (2 * new - 1, 2 * old - 1).

    As the official code (SimMIM, utils.py, remap_pretrained_keys_swin) with scipy's interp2d, which scipy has removed:
    the old offsets lie at 0, +-1, +-(1 + q), +-(1 + q + q^2), ... and the new ones at whole numbers. q puts the last
    old offset on the last new one where 1.01 <= q <= 1.5 can; new offsets beyond it take the value at the edge.
    """
    if 2 * old - 1 < 4:
        raise UserError(
            f"the geometric rule lays a cubic spline through 4 offsets or more, and a window side of {old} has "
            f"{2 * old - 1}; choose the bicubic rule"
        )
    low, high = 1.01, 1.5
    while high - low > 1e-6:
        q = (low + high) / 2
        low, high = (low, q) if (1 - q ** (old - 1)) / (1 - q) > new - 1 else (q, high)
    reached = torch.cumsum(q ** torch.arange(old - 1, dtype=torch.float64), 0)
    at = torch.cat((-reached.flip(0), torch.zeros(1), reached))
    return _spline(at, torch.arange(-(new - 1), new, dtype=torch.float64).clamp(at[0], at[-1]))


def _spline(x: Tensor, at: Tensor) -> Tensor:
    """Not-a-knot cubic spline as a matrix, from values at x (n,), n >= 4, to values at points between: (m, n)."""
    knots = torch.cat((x[:1].expand(4), x[2:-2], x[-1:].expand(4)))
    return torch.linalg.solve(_cubics(knots, x), _cubics(knots, at), left=False)


def _cubics(knots: Tensor, at: Tensor) -> Tensor:
    """The cubic B-splines of n + 4 knots (Cox and de Boor): points (m,) -> (m, n)."""
    at = at[:, None]
    basis = ((knots[:-1] <= at) & (at < knots[1:])).double()
    basis[at[:, 0] == knots[-1], len(knots) - 5] = 1  # the last point belongs to the last interval
    for degree in (1, 2, 3):
        width = knots[degree:] - knots[:-degree]
        slope = torch.where(width > 0, 1 / width, 0.0)
        rise = (at - knots[: -degree - 1]) * slope[:-1]
        fall = (knots[degree + 1 :] - at) * slope[1:]
        basis = rise * basis[:, :-1] + fall * basis[:, 1:]
    return basis


# --- classes ---------------------------------------------------------------------------------------------------------


def select_classes(state: Mapping[str, Tensor], rows: Sequence[int]) -> dict[str, Tensor]:
    """A classifier of `len(rows)` classes, class i being class `rows[i]` of the old head.

    This is how a head of ImageNet-22K becomes one of ImageNet-1K, with the official list of 1000 rows.
    Raises UserError for a state without a head and for a row that it does not have.
    """
    heads = [head for head in _HEADS if f"{head}.weight" in state]
    if not heads:
        raise UserError("there is no head to choose classes from; the file holds a backbone or a pre-training model")
    classes = state[f"{heads[0]}.weight"].shape[:1].numel()
    for head in heads:
        weight, bias = state[f"{head}.weight"], state.get(f"{head}.bias")
        if weight.ndim != 2 or len(weight) != classes or bias is None or bias.shape != (classes,):
            raise UserError("the head to choose classes from has no bias for every row; the file is damaged")
    if not rows:
        raise UserError("the list of classes is empty; it needs one row of the old head for every new class")
    for i, row in enumerate(rows):
        if type(row) is not int or not 0 <= row < classes:
            raise UserError(f"class {i} is to be row {row!r} of a head of {classes}; rows are 0 to {classes - 1}")
    index = torch.tensor(rows)
    return {key: tensor[index] if key.rpartition(".")[0] in heads else tensor for key, tensor in state.items()}


def zero_head(state: Mapping[str, Tensor], classes: int) -> dict[str, Tensor]:
    """A classifier of other classes, its head all zeros: the official rule, so that training starts from equal odds.

    A distilled model that has its two heads gets two.
    """
    if _NORM not in state:
        raise UserError("the state has no final norm, so it is no classifier's; load it into one first")
    if classes < 1:
        raise UserError(f"a head of {classes} classes; it needs 1 or more")
    width = len(state.get("readout.representation.weight", state[_NORM]))
    heads = [head for head in _HEADS if head == _HEADS[0] or f"{head}.weight" in state]
    zeros = {f"{head}.weight": state[_NORM].new_zeros(classes, width) for head in heads}
    return {**state, **zeros, **{f"{head}.bias": state[_NORM].new_zeros(classes) for head in heads}}


# --- input channels --------------------------------------------------------------------------------------------------


def adapt_channels(weight: Tensor, in_chans: int) -> Tensor:
    """Patch kernels for other input channels: (dim, c, *patch) -> (dim, in_chans, *patch).

    Channels are assigned in turn. Fewer than before: each new channel sums the old ones it gets (1: their sum, as in
    timm). More: each old channel is shared equally by the new ones that repeat it (6: R/2, G/2, B/2, R/2, G/2, B/2, as
    in timm; 4: R/2, G, B, R/2). So a picture whose channels are all equal embeds as before, for every number of
    channels; timm's repeat with the factor 3/in_chans keeps that only for multiples of 3.
    """
    if in_chans < 1:
        raise UserError(f"in_chans is {in_chans}; a picture has 1 channel or more")
    had = weight.shape[1]
    dealt = torch.zeros(in_chans, had, dtype=torch.promote_types(weight.dtype, torch.float32), device=weight.device)
    for i in range(max(in_chans, had)):
        dealt[i % in_chans, i % had] = 1
    dealt /= dealt.sum(0)
    wide = weight.to(dealt.dtype)
    return torch.tensordot(wide, dealt, ([1], [1])).movedim(-1, 1).to(weight.dtype).contiguous()
