"""From the features of a backbone to one vector or one set of logits for each picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from muntin.errors import UserError


class Readout(nn.Module):
    """One vector a picture, then a linear classifier: the levels and prefix tokens of a backbone -> logits (B, K).

    It gives a tuple, the logits of every head; only `DistilledReadout` has more than one. Its children define the
    vector, and where the norm is. num_classes = 0 leaves the vector itself, (B, C). eps: of the norm. representation:
    width of a linear map with tanh before the classifier (ViT, sec. 3.1: for pre-training); 0: none.
    """

    norms_mean = False  # whether the norm follows the mean over the cells

    def __init__(self, dim: int, num_classes: int, eps: float = 1e-5, representation: int = 0):
        super().__init__()
        self.norm: nn.Module = nn.LayerNorm(dim, eps)
        self.representation = nn.Linear(dim, representation) if representation else None
        self.width = representation or dim  # channels of the vector that is classified
        self.set_head(num_classes)
        _initialise_head(self.representation, 1.0)

    def forward(self, levels: Sequence[Tensor], prefix: Tensor | None = None) -> tuple[Tensor, ...]:
        return (self.head(self.pool(levels, prefix)),)

    def pool(self, levels: Sequence[Tensor], prefix: Tensor | None = None) -> Tensor:
        """What the classifier gets: (B, C), or (B, representation)."""
        vector = self.vector(levels, prefix)
        return vector if self.representation is None else self.representation(vector).tanh()

    def vector(self, levels: Sequence[Tensor], prefix: Tensor | None = None) -> Tensor:
        """What stands for the picture: (B, C)."""
        raise NotImplementedError

    @property
    def num_classes(self) -> int:
        return self.head.out_features if isinstance(self.head, nn.Linear) else 0

    def set_head(self, num_classes: int, scale: float = 1.0) -> None:
        """Give the model a new linear classifier on the default device, or none for 0 classes.

        scale: what its fresh weights are multiplied by; 0 starts it at zero, with equal odds for all classes.
        """
        self.head = self._fresh(num_classes, scale)

    def heads(self) -> list[nn.Module]:
        """The linear classifiers."""
        return [self.head]

    def initialise(self) -> None:
        """Norm 1 and 0, linear maps N(0, 0.02), biases 0."""
        if isinstance(self.norm, nn.LayerNorm):
            self.norm.reset_parameters()
        for linear in (self.representation, *self.heads()):
            _initialise_head(linear, 1.0)

    def _fresh(self, num_classes: int, scale: float) -> nn.Module:
        if num_classes < 0:
            raise UserError(f"num_classes is {num_classes}; it must be 0 (features) or more")
        head = nn.Linear(self.width, num_classes) if num_classes else nn.Identity()
        _initialise_head(head, scale)
        return head


class PooledReadout(Readout):
    """Classifies the mean over the cells of the coarsest level, after the norm (Swin; ViT without class token)."""

    def vector(self, levels: Sequence[Tensor], prefix: Tensor | None = None) -> Tensor:
        """Normalised mean of the coarsest level: (B, C, *S) -> (B, C)."""
        return self.norm(levels[-1].movedim(1, -1)).flatten(1, -2).mean(1)


class MeanNormReadout(Readout):
    """Classifies the mean over the cells of the coarsest level, normalised after the mean (ConvNeXt, MAE, BEiT)."""

    norms_mean = True

    def vector(self, levels: Sequence[Tensor], prefix: Tensor | None = None) -> Tensor:
        """Mean of the coarsest level, normalised: (B, C, *S) -> (B, C)."""
        return self.norm(levels[-1].flatten(2).mean(-1))


class MeanReadout(MeanNormReadout):
    """Classifies the mean over the cells of the coarsest level as it is (ResNet)."""

    def __init__(self, dim: int, num_classes: int):
        super().__init__(dim, num_classes)
        self.norm = nn.Identity()


class TokenReadout(Readout):
    """Classifies the class token, the first of the prefix (ViT, CvT)."""

    def vector(self, levels: Sequence[Tensor], prefix: Tensor | None = None) -> Tensor:
        """Normalised class token: (B, P, C) -> (B, C)."""
        return self.norm(_token(prefix, 0))


class DistilledReadout(Readout):
    """Classifies class token and distillation token with one head each (DeiT, sec. 3). Gives both logits, in this
    order.
    """

    def __init__(self, dim: int, num_classes: int, eps: float = 1e-5):
        super().__init__(dim, num_classes, eps)

    def forward(self, levels: Sequence[Tensor], prefix: Tensor | None = None) -> tuple[Tensor, ...]:
        tokens = self.norm(_token(prefix, 0)), self.norm(_token(prefix, 1))
        return self.head(tokens[0]), self.head_distilled(tokens[1])

    def vector(self, levels: Sequence[Tensor], prefix: Tensor | None = None) -> Tensor:
        """Mean of the two normalised tokens: (B, P, C) -> (B, C)."""
        return (self.norm(_token(prefix, 0)) + self.norm(_token(prefix, 1))) / 2

    def set_head(self, num_classes: int, scale: float = 1.0) -> None:
        super().set_head(num_classes, scale)
        self.head_distilled = self._fresh(num_classes, scale)

    def heads(self) -> list[nn.Module]:
        return [self.head, self.head_distilled]


def _token(prefix: Tensor | None, number: int) -> Tensor:
    if prefix is None or prefix.shape[1] <= number:
        count = 0 if prefix is None else prefix.shape[1]
        raise UserError(
            f"this readout classifies token {number + 1} before the cells, and the backbone gives {count}; choose a "
            "readout that pools the cells"
        )
    return prefix[:, number]


def _initialise_head(head: nn.Module | None, scale: float) -> None:
    if isinstance(head, nn.Linear):
        nn.init.trunc_normal_(head.weight, std=0.02)
        nn.init.zeros_(head.bias)
        with torch.no_grad():
            head.weight.mul_(scale)


def mean_logits(by_head: Sequence[Tensor]) -> Tensor:
    """What the heads say together: the mean of their logits, as in DeiT's code (the paper adds probabilities)."""
    return by_head[0] if len(by_head) == 1 else sum(by_head[1:], by_head[0]) / len(by_head)


class LevelNorms(nn.Module):
    """A layer norm for every level that a dense head reads: levels (B, C_i, *S_i) -> the chosen ones, normalised."""

    def __init__(self, channels: Sequence[int], out_levels: Sequence[int] | None = None, eps: float = 1e-5):
        super().__init__()
        self.out_levels = tuple(range(len(channels)) if out_levels is None else out_levels)
        self.norms = nn.ModuleDict(
            {str(i): nn.LayerNorm(channels[i], eps) for i in self.out_levels}
        )  # named after the level

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        return [self.norms[str(i)](levels[i].movedim(1, -1)).movedim(-1, 1) for i in self.out_levels]
