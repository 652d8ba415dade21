"""What a trained model does inside: amplitudes through depth, position bias, attention of one query.

Works on a backbone with `stages` of blocks or one list of `blocks`, or on anything that holds one as `.backbone`; what
a backbone does not have gives no maps. Each function looks without touching: evaluation mode, no gradients, every
module's training flag put back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from muntin.errors import UserError
from muntin.layers.attention import Attention, WindowAttention
from muntin.ops.windows import Size, relative_position_index

_WITH_MAPS = (WindowAttention, Attention)


class BiasMap(NamedTuple):
    """Position bias of one block by offset, key minus query; offset (0, 0) is in the middle."""

    name: str  # "stage 1, block 1"
    heads: Tensor  # (h, 2 * Wh - 1, 2 * Ww - 1), of clips with offsets in time before them


class AttentionMap(NamedTuple):
    """What one query of one block attends to, on that block's grid of cells: H x W, or T x H x W of clips."""

    name: str  # "stage 1, block 2"
    cell: Size  # the query: row, column
    window: Size  # cells; as used on this grid, which may be smaller than the model's
    shift: Size
    stride: Size  # pixels a cell, down and across
    heads: Tensor  # (h, *S), 0 outside the window; each head sums to 1, less what goes to padding

    @property
    def seen(self) -> tuple[tuple[int, int], ...]:
        """(top, bottom), (left, right) of the query's window, ends excluded, cut at the rim of the grid."""
        return tuple(map(_span, self.cell, self.window, self.shift, self.heads.shape[1:]))


def amplitudes(model: nn.Module, images: Tensor) -> list[tuple[str, float]]:
    """Average channel variance of each block's output, in depth order: images (B, C, *S) -> [("1.1", 0.8), ...].

    Names are stage.block. Variance is taken over pictures and cells, then averaged over channels: the signal
    propagation plot of Brock et al. (2021, arXiv:2101.08692), as in Swin V2's figure 2.
    """
    found: list[tuple[str, float]] = []
    hooks = []
    for stage, block, module in _blocks(model):

        def note(module: nn.Module, args: tuple, output: Tensor, name: str = f"{stage}.{block}") -> None:
            found.append((name, float(output.float().flatten(0, -2).var(0, correction=0).mean())))

        hooks.append(module.register_forward_hook(note))
    with _looking(model, hooks):
        _backbone(model)(images)
    return found


def position_bias(model: nn.Module) -> list[BiasMap]:
    """The bias maps of the first block of every stage; windows of a single cell are skipped."""
    maps = []
    with _looking(model, []):
        for stage, block, module in _blocks(model):
            if block > 1 or not isinstance(getattr(module, "mix", None), WindowAttention):
                continue
            window = tuple(module.mix.window)
            if max(window) > 1:
                bias = module.mix.position_bias(window).float().cpu()
                maps.append(BiasMap(f"stage {stage}, block {block}", _by_offset(bias, window)))
    return maps


def attention(model: nn.Module, image: Tensor, cell: Size | None = None, level: int = 0) -> list[AttentionMap]:
    """Attention of the query at `cell` in stage `level` (0 = finest): of windows in the first plain and the first
    shifted block, of all tokens in the first and the last block. Other kinds of mixing give no map.

    image (C, *S), normalised. cell: row and column on that stage's grid; left out, the middle, where plain windows
    meet. A grid that one window covers has no shifted block: one map is returned.
    """
    backbone = _backbone(model)
    blocks = [(block, module) for stage, block, module in _blocks(model) if stage == level + 1]
    count = len({stage for stage, _, _ in _blocks(model)})
    if count and not blocks:
        raise UserError(f"the model has {count} stages, counted from 0; there is no stage {level}")
    blocks = [(b, module) for b, module in blocks if isinstance(getattr(module, "mix", None), _WITH_MAPS)]
    inputs: dict[int, tuple] = {}
    hooks = []
    for block, module in blocks:

        def note(module: nn.Module, args: tuple, key: int = block) -> None:
            inputs[key] = args

        hooks.append(module.mix.register_forward_pre_hook(note))
    maps: dict[bool, AttentionMap] = {}
    if not blocks:
        return []
    with _looking(model, hooks):
        size = tuple(backbone(image[None]).levels[level].shape[2:])
        query = tuple(side // 2 for side in size) if cell is None else cell
        if len(query) != len(size) or not all(0 <= at < side for at, side in zip(query, size)):
            cells = " x ".join(map(str, size))
            raise UserError(f"cell {query} is outside the grid of stage {level}, which has {cells} cells")
        for block, module in blocks:
            if isinstance(module.mix, WindowAttention):
                window, shift, *_ = module.mix.windows(size)
                kind = any(shift)
            else:
                window, shift, kind = size, (0,) * len(size), block == blocks[-1][0]
            if kind not in maps:
                heads = _heads(module.mix, inputs[block], query, size)
                name = f"stage {level + 1}, block {block}"
                maps[kind] = AttentionMap(name, query, window, shift, backbone.strides[level], heads)
    return list(maps.values())


def _heads(mix: WindowAttention | Attention, given: tuple, query: Size, size: Size) -> Tensor:
    """What the query pays to each cell of the grid: (h, *S)."""
    if isinstance(mix, WindowAttention):
        return mix.attention_map(given[0], query)[0].float().cpu()
    prefix = given[0].shape[1] - math.prod(size)  # tokens before the cells
    token = prefix + int(torch.arange(math.prod(size)).view(size)[query])
    return mix.attention_map(given[0], token, *given[1:])[0, :, prefix:].unflatten(-1, size).float().cpu()


def _backbone(model: nn.Module) -> Any:  # a backbone with stages; nn.Module hides the types of its attributes
    return getattr(model, "backbone", model)


def _blocks(model: nn.Module) -> Iterator[tuple[int, int, Any]]:
    """(stage, block, module), counted from 1, in depth order; nothing for a backbone that is not made of blocks."""
    backbone = _backbone(model)
    stages = getattr(backbone, "stages", None) or [getattr(backbone, "blocks", [])]
    for number, stage in enumerate(stages, 1):
        for block, module in enumerate(stage, 1):
            yield number, block, module


@contextmanager
def _looking(model: nn.Module, hooks: list) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards hooks are removed and training flags are as before."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for hook in hooks:
            hook.remove()
        for module, flag in training.items():
            module.training = flag


def _by_offset(bias: Tensor, window: Size) -> Tensor:
    """(h, N, N) for every pair -> (h, *(2 * window - 1)) for every offset, key minus query."""
    index = relative_position_index(window, bias.device)  # of query minus key
    table = bias.new_zeros(len(bias), math.prod(2 * w - 1 for w in window))
    table[:, index.flatten()] = bias.flatten(1)
    return table.view(-1, *[2 * w - 1 for w in window]).flip(*range(1, len(window) + 1))


def _span(position: int, window: int, shift: int, size: int) -> tuple[int, int]:
    """First and last + 1 cell of the window that holds `position`, when windows begin at shift, shift + window, ..."""
    first = (position - shift) // window * window + shift
    return max(first, 0), min(first + window, size)
