"""Video Swin Transformer (Liu et al., 2021, arXiv:2106.13230) on muntin's parts, as short as it can be.

No model of the catalog; `peers/video_swin_test.py` compares it with torchvision's. New over Swin:
- tokens of 2 x 4 x 4 pixels, windows of 8 x 7 x 7 tokens (sec. 3.1);
- patch merging inside every frame: time keeps its length (sec. 3.1);
- each axis of a window shrinks for itself on a small map, and reads the full window's index, cropped (official code).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from muntin.layers.position import TableBias
from muntin.models.fields import GridSize
from muntin.models.swin import Swin, SwinConfig, Window
from muntin.ops.windows import Size, SmallMapRule, relative_position_index


def shrink_each_axis(size: Size, window: Size, shift: Size) -> tuple[Size, Size]:
    """Small-map rule of video: an axis no longer than the window is one window, without a shift."""
    larger = [s > w for s, w in zip(size, window)]
    return (
        tuple(w if more else s for more, s, w in zip(larger, size, window)),
        tuple(d if more else 0 for more, d in zip(larger, shift)),
    )


@dataclass(frozen=True, kw_only=True)
class VideoSwinConfig(SwinConfig):
    patch: GridSize = (2, 4, 4)
    window: Window | tuple[Window, ...] = (8, 7, 7)

    @property
    def merged(self) -> Size:
        return (1, 2, 2)

    @property
    def small_map_rule(self) -> SmallMapRule:
        return shrink_each_axis


class CroppedTableBias(TableBias):
    """The official video code: a smaller window of N tokens reads the first N rows and columns of the full index."""

    def forward(self, window: Size) -> tuple[Tensor, Tensor]:
        N = math.prod(window)
        return self.table, relative_position_index(self.window, self.table.device)[:N, :N]


class VideoSwin(Swin):
    """The backbone: (B, 3, T, H, W) -> levels (B, C_i, T_i, H_i, W_i) at strides 4, 8, 16, 32, of frames always 2."""

    def _position(self, stage: int) -> nn.Module:
        return CroppedTableBias(self.config.window, self.config.heads[stage])
