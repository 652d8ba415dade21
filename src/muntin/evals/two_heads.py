"""Class head and distillation head of one model: how good each is, and how often they disagree (DeiT, table 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class HeadsResult(NamedTuple):
    """Shares of the pictures, in [0, 1]."""

    class_head_top1: float
    distillation_head_top1: float
    heads_disagree: float  # their first choices differ


class Heads:
    """Counts over the pictures of this process; counts of several add up, as those of `TopK` do."""

    def __init__(self) -> None:
        self.counts = torch.zeros(4, dtype=torch.int64)  # pictures, class head right, distillation head right, disagree

    def update(self, class_logits: Tensor, distillation_logits: Tensor, labels: Tensor) -> None:
        """Both logits (B, K), labels (B,)."""
        by_class, by_distillation = class_logits.argmax(1), distillation_logits.argmax(1)
        labels = labels.to(by_class.device)
        found = (labels == labels, by_class == labels, by_distillation == labels, by_class != by_distillation)
        self.counts += torch.stack(found).sum(1).cpu()

    def state(self) -> Tensor:
        """All counts in one int64 vector."""
        return self.counts.clone()

    def merge(self, states: Sequence[Tensor]) -> None:
        """Replace the counts by the sum of these states."""
        self.counts = torch.stack(list(states)).sum(0)

    def result(self) -> HeadsResult:
        """The counts as shares of at least one picture."""
        pictures, *found = self.counts.tolist()
        return HeadsResult(*(count / pictures for count in found))
