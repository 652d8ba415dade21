"""The contracts of every backbone and every encoder with heads and tasks."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from muntin.ops.windows import Size


class Features(NamedTuple):
    """Output of a backbone. levels: (B, C_i, *S_i), fine to coarse, each before the merge to the next level."""

    levels: list[Tensor]
    prefix: Tensor | None = None  # (B, P, C): class and distillation tokens


class Backbone(Protocol):
    """A network for grids, of pictures or clips.

    A protocol, not a parent: any module with these members works with every head and task.
    """

    channels: tuple[int, ...]  # per level, fine to coarse
    strides: tuple[Size, ...]  # pixels (and frames) per cell of each level, along each axis
    embed_dim: int  # channels of what `embed` gives; a first stage may widen them
    config: Any  # of its family; what it says holds for the model as it is now

    def embed(self, x: Tensor) -> Tensor:
        """Pictures to the token grid: (B, 3, *S) -> (B, *S', C). SimMIM masks between `embed` and `encode`."""
        ...

    def encode(self, tokens: Tensor) -> Features: ...

    def forward(self, x: Tensor) -> Features: ...

    def initialise(self) -> None:
        """Fresh weights for every parameter, by the paper's table."""
        ...

    def layers(self) -> list[list[nn.Module]]:
        """All layers from input to output; a group shares one depth."""
        ...

    def stacked(self) -> list[list[nn.Module]]:
        """Its blocks, stage by stage; each gives (B, *S, C) or (B, N, C). [] if it is not made of blocks."""
        ...

    def looked_at(self) -> list[list[Any]]:
        """The attention of every block, stage by stage, if it can show what a query attends to; else [].

        See `layers.attention.WindowAttention`: `layout`, `paid_by`, `bias_by_offset`.
        """
        ...


class Encoder(Protocol):
    """A network for sequences, such as words, regions or frames: one stream, or several that attend to one another."""

    config: Any  # of its family
    channels: dict[str, int]  # of the states of each stream

    def forward(self, streams: dict[str, Any], masks: dict[str, Tensor]) -> dict[str, Tensor]:
        """Each stream's tokens, and a mask (B, N) that is True for real tokens, to its states (B, N, C)."""
        ...

    def initialise(self) -> None:
        """Fresh weights for every parameter, by the paper's table."""
        ...

    def layers(self) -> list[list[nn.Module]]:
        """All layers from input to output; a group shares one depth."""
        ...
