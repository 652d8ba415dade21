"""What a trained model does inside: amplitudes through depth, position bias, attention of one query.

It works on any backbone (`models.Backbone`); what a backbone cannot show gives no maps. Each function changes nothing:
it uses evaluation mode without gradients, and restores every module's training flag.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from muntin.errors import UserError
from muntin.ops.windows import Size


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


def amplitudes(backbone: Any, images: Tensor) -> list[tuple[str, float]]:
    """Average channel variance of each block's output, in depth order: images (B, C, *S) -> [("1.1", 0.8), ...].

    Names are stage.block. Variance is taken over pictures and cells, then averaged over channels: the signal
    propagation plot of Brock et al. (2021, arXiv:2101.08692), as in Swin V2's figure 2.
    """
    found: list[tuple[str, float]] = []
    hooks = []
    for stage, blocks in enumerate(backbone.stacked(), 1):
        for block, module in enumerate(blocks, 1):

            def note(module: nn.Module, args: tuple, output: Tensor, name: str = f"{stage}.{block}") -> None:
                found.append((name, float(output.float().flatten(0, -2).var(0, correction=0).mean())))

            hooks.append(module.register_forward_hook(note))
    with _looking(backbone, hooks):
        backbone(images)
    return found


def position_bias(backbone: Any) -> list[BiasMap]:
    """The bias maps of the first block of every stage, where it has one; windows of a single cell are skipped."""
    with _looking(backbone, []):
        found = [(stage, first.bias_by_offset()) for stage, (first, *_) in enumerate(backbone.looked_at(), 1)]
    shown = ((stage, bias) for stage, bias in found if bias is not None and max(bias.shape[1:]) > 1)
    return [BiasMap(f"stage {stage}, block 1", bias.float().cpu()) for stage, bias in shown]


def attention(backbone: Any, image: Tensor, cell: Size | None = None, level: int = 0) -> list[AttentionMap]:
    """What the query at `cell` in stage `level` (0 = finest) attends to, in the first block and in another one.

    The other one is the first with shifted windows or, if all attend to the same cells, the last block. Kinds of mixing
    that cannot show it give no map.

    image (C, *S), normalised. cell: row and column on that stage's grid; by default the middle, where plain windows
    meet.
    """
    stages = backbone.looked_at()
    if stages and not 0 <= level < len(stages):
        raise UserError(f"the model has {len(stages)} stages, counted from 0; there is no stage {level}")
    blocks = stages[level] if stages else []
    if not blocks:
        return []
    given: dict[int, tuple] = {}
    hooks = [
        mix.register_forward_pre_hook(lambda module, args, number=number: given.update({number: args}))
        for number, mix in enumerate(blocks)
    ]
    with _looking(backbone, hooks):
        size = tuple(backbone(image[None]).levels[level].shape[2:])
        query = tuple(side // 2 for side in size) if cell is None else cell
        if len(query) != len(size) or not all(0 <= at < side for at, side in zip(query, size)):
            cells = " x ".join(map(str, size))
            raise UserError(f"cell {query} is outside the grid of stage {level}, which has {cells} cells")
        layouts = [mix.layout(size) for mix in blocks]
        other = next((number for number, layout in enumerate(layouts) if layout != layouts[0]), len(blocks) - 1)
        return [
            AttentionMap(
                f"stage {level + 1}, block {number + 1}",
                query,
                layouts[number][0],
                layouts[number][1],
                backbone.strides[level],
                blocks[number].paid_by(query, size, *given[number]).float().cpu(),
            )
            for number in dict.fromkeys((0, other))
        ]


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


def _span(position: int, window: int, shift: int, size: int) -> tuple[int, int]:
    """First and last + 1 cell of the window that holds `position`, when windows begin at shift, shift + window, ..."""
    first = (position - shift) // window * window + shift
    return max(first, 0), min(first + window, size)
