"""How often a classifier is right: its answer, and each of its heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from muntin.answers import Classes

from .meter import Measured
from .topk import TopK
from .two_heads import Heads


class ClassesMeter:
    """Top-1, top-5 (with more than five classes) and the confusion matrix; for a distilled model also what each head
    alone would answer. `details` of the result is a `TopKResult`.
    """

    def __init__(self, num_classes: int, *, two_heads: bool = False):
        self.fused, self.alone = TopK(num_classes), Heads() if two_heads else None

    def update(self, answer: Classes, batch: Any) -> None:
        labels = batch.target["label"]
        self.fused.update(answer.logits, labels)
        if self.alone:
            by_class, by_distillation = answer.heads
            self.alone.update(by_class, by_distillation, labels)

    def state(self) -> list[Tensor]:
        return [part.state() for part in self._parts()]

    def merge(self, states: Sequence[list[Tensor]]) -> None:
        for part, counts in zip(self._parts(), zip(*states)):
            part.merge(counts)

    def result(self) -> Measured:
        fused = self.fused.result()
        numbers = {"top1": fused.top1} | ({} if fused.top5 is None else {"top5": fused.top5})
        if self.alone:
            numbers |= self.alone.result()._asdict()
        return Measured(numbers, fused.samples, fused)

    def _parts(self) -> list[TopK | Heads]:
        return [self.fused, *([self.alone] if self.alone else [])]
