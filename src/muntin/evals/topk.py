"""Top-1, top-5 and the confusion matrix of a classifier, from exact counts.

Counts are integers, so the sum over batches, processes and machines is the same in any order.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from muntin.errors import UserError


@dataclass(frozen=True, kw_only=True)
class TopKResult:
    """Shares are fractions in [0, 1]. A class without a sample has recall nan."""

    samples: int
    top1: float
    top5: float | None  # None with fewer than six classes, where it would say nothing
    per_class: tuple[float, ...]  # recall: the share of a class's samples that were named right, (K,)
    confusion: Tensor  # (K, K) int64, rows = true class, columns = predicted class


class TopK:
    """Counts what a classifier of K classes gets right.

    Every process feeds its own samples to `update`; summing `state()` over processes and giving the sum to `load`
    makes each of them hold the counts of all.
    """

    def __init__(self, num_classes: int):
        if num_classes < 1:
            raise UserError(f"top-k needs at least one class, got {num_classes}")
        self.num_classes = num_classes
        self.confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.top5_hits = torch.zeros(1, dtype=torch.int64)

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """logits (B, K), labels (B,) integers in [0, K)."""
        K = self.num_classes
        if logits.shape[1:] != (K,):
            raise UserError(f"top-k over {K} classes got logits of shape {tuple(logits.shape)}; it needs (B, {K})")
        labels = labels.to(logits.device)
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < K:
            raise UserError(f"labels run from {int(labels.min())} to {int(labels.max())}, the model has {K} classes")
        best = logits.topk(min(5, K), dim=1).indices  # (B, min(5, K)), best first
        self.top5_hits += (best == labels[:, None]).sum().cpu()
        cells = (labels * K + best[:, 0]).cpu()
        self.confusion.view(-1).index_add_(0, cells, torch.ones_like(cells))

    def state(self) -> Tensor:
        """All counts in one int64 vector, (K * K + 1,); add the vectors of several processes."""
        return torch.cat([self.confusion.flatten(), self.top5_hits])

    def load(self, state: Tensor) -> None:
        """Take over the (summed) counts of `state()`."""
        state = state.cpu()
        self.confusion = state[:-1].reshape(self.num_classes, self.num_classes).clone()
        self.top5_hits = state[-1:].clone()

    def result(self) -> TopKResult:
        """The counts as shares. Raises UserError when nothing was counted."""
        samples = int(self.confusion.sum())
        if not samples:
            raise UserError("nothing to evaluate: not one labelled picture was seen")
        hits, seen = self.confusion.diagonal(), self.confusion.sum(1)
        return TopKResult(
            samples=samples,
            top1=int(hits.sum()) / samples,
            top5=int(self.top5_hits) / samples if self.num_classes > 5 else None,
            per_class=tuple((hits.double() / seen.double()).tolist()),  # 0 / 0 = nan
            confusion=self.confusion.clone(),
        )
