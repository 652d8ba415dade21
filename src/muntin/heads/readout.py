"""From the features of a backbone to one vector or one set of logits a picture."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from muntin.errors import UserError


class PooledReadout(nn.Module):
    """Layer norm of the coarsest level, mean over its cells, linear classifier: levels -> (B, num_classes).

    The norm comes before the mean (Swin; ConvNeXt pools first). num_classes = 0 leaves the pooled features (B, C).
    """

    def __init__(self, dim: int, num_classes: int):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.set_head(num_classes)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        return self.head(self.pool(levels))

    def pool(self, levels: Sequence[Tensor]) -> Tensor:
        """Normalised mean of the coarsest level: (B, C, *S) -> (B, C)."""
        return self.norm(levels[-1].movedim(1, -1)).flatten(1, -2).mean(1)

    def set_head(self, num_classes: int) -> None:
        """A new linear classifier, or none for 0 classes, where the norm's weights are and of their type."""
        if num_classes < 0:
            raise UserError(f"num_classes is {num_classes}; it must be 0 (features) or more")
        head = nn.Linear(self.norm.normalized_shape[0], num_classes) if num_classes else nn.Identity()
        self.head = head.to(self.norm.weight.device, self.norm.weight.dtype)
        self._initialise_head()

    def initialise(self) -> None:
        """Norm 1 and 0, classifier weights N(0, 0.02), bias 0."""
        self.norm.reset_parameters()
        self._initialise_head()

    def _initialise_head(self) -> None:
        if isinstance(self.head, nn.Linear):
            nn.init.trunc_normal_(self.head.weight, std=0.02)
            nn.init.zeros_(self.head.bias)


class LevelNorms(nn.Module):
    """A layer norm for every level that a dense head reads: levels (B, C_i, *S_i) -> the chosen ones, normalised."""

    def __init__(self, channels: Sequence[int], out_levels: Sequence[int] | None = None):
        super().__init__()
        self.out_levels = tuple(range(len(channels)) if out_levels is None else out_levels)
        self.norms = nn.ModuleDict(
            {str(i): nn.LayerNorm(channels[i]) for i in self.out_levels}
        )  # named after the level

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        return [self.norms[str(i)](levels[i].movedim(1, -1)).movedim(-1, 1) for i in self.out_levels]
