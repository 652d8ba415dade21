"""Which classes are confused, the surest right answers and the worst wrong ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from muntin.answers import Classes
from muntin.data import Batch, Inputs, Source
from muntin.evals.topk import MATRIX_CLASSES
from muntin.report import sections
from muntin.report.page import Page

MOST = 1000  # samples; larger sources are thinned evenly


def add(page: Page, seen: Iterable[tuple[Batch, Classes]], source: Source, task: Any, inputs: Inputs) -> None:
    """Confusion matrix, unless of very many classes, and the surest right and worst wrong predictions."""
    kept = [(answer.logits.softmax(1).cpu(), batch.target["label"].cpu(), batch.indices) for batch, answer in seen]
    probabilities, labels, numbers = (torch.cat(parts) for parts in zip(*kept))
    K = len(task.classes)
    if K <= MATRIX_CLASSES:
        confusion = (labels * K + probabilities.argmax(1)).bincount(minlength=K * K).view(K, K)
        sections.confusion(page, confusion, task.classes)
    sections.predictions(
        page,
        probabilities,
        labels,
        task.classes,
        picture=lambda i: source.read(int(numbers[i])).inputs["image"],
    )
