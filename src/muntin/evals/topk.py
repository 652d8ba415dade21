"""Top-1, top-5 and the confusion matrix of a classifier, from exact counts.

Counts are integers, so the sum over batches, processes and machines is the same in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from muntin.errors import UserError

MATRIX_CLASSES = 2_000  # with more, no confusion matrix is kept: that of 21,841 classes would take 3.8 GB


@dataclass(frozen=True, kw_only=True)
class TopKResult:
    """Shares are fractions in [0, 1]. A class without a sample has recall nan."""

    samples: int
    top1: float
    top5: float | None  # None with fewer than six classes, where it would say nothing
    per_class: tuple[float, ...]  # recall: the share of a class's samples that were named right, (K,)
    seen: tuple[int, ...]  # samples of each class, (K,)
    confusion: Tensor | None  # (K, K) int64, rows = true class, columns = predicted; None above `MATRIX_CLASSES`


class TopK:
    """Counts what a classifier of K classes gets right.

    Every process feeds its own samples to `update`. After `merge` of all states, each process holds the counts of all.
    """

    def __init__(self, num_classes: int):
        if num_classes < 1:
            raise UserError(f"top-k needs at least one class, got {num_classes}")
        self.num_classes = num_classes
        self.seen = torch.zeros(num_classes, dtype=torch.int64)
        self.hits = torch.zeros(num_classes, dtype=torch.int64)
        self.top5_hits = torch.zeros(1, dtype=torch.int64)
        cells = num_classes**2 if num_classes <= MATRIX_CLASSES else 0
        self.confusion = torch.zeros(cells, dtype=torch.int64)

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
        labels, first = labels.cpu(), best[:, 0].cpu()
        self.seen += labels.bincount(minlength=K)
        self.hits += labels[labels == first].bincount(minlength=K)
        if len(self.confusion):
            self.confusion += (labels * K + first).bincount(minlength=K * K)

    def state(self) -> Tensor:
        """All counts in one int64 vector."""
        return torch.cat(self._counts())

    def merge(self, states: Sequence[Tensor]) -> None:
        """Replace the counts by the sum of these states."""
        parts = torch.stack(list(states)).sum(0).split([len(count) for count in self._counts()])
        self.seen, self.hits, self.top5_hits, self.confusion = (part.clone() for part in parts)

    def _counts(self) -> list[Tensor]:
        return [self.seen, self.hits, self.top5_hits, self.confusion]

    def result(self) -> TopKResult:
        """The counts as shares. Raises UserError when nothing was counted."""
        samples = int(self.seen.sum())
        if not samples:
            raise UserError("nothing to evaluate: not one labelled picture was seen")
        K = self.num_classes
        return TopKResult(
            samples=samples,
            top1=int(self.hits.sum()) / samples,
            top5=int(self.top5_hits) / samples if K > 5 else None,
            per_class=tuple((self.hits.double() / self.seen.double()).tolist()),  # 0 / 0 = nan
            seen=tuple(self.seen.tolist()),
            confusion=self.confusion.reshape(K, K).clone() if len(self.confusion) else None,
        )
