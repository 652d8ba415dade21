"""How far painted pixels are from the hidden ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from muntin.answers import Reconstruction
from muntin.errors import UserError

from .meter import Measured


class ReconstructionMeter:
    """The loss on hidden pixels: a mean over batches, each counted by its samples."""

    def __init__(self) -> None:
        self.totals = torch.zeros(2, dtype=torch.float64)  # loss times samples, samples

    def update(self, answer: Reconstruction, batch: Any) -> None:
        count = len(batch.names)
        self.totals += torch.tensor([answer.loss.item() * count, count], dtype=torch.float64)

    def state(self) -> Tensor:
        return self.totals.clone()

    def merge(self, states: Sequence[Tensor]) -> None:
        self.totals = torch.stack(list(states)).sum(0)

    def result(self) -> Measured:
        total, samples = self.totals.tolist()
        if not samples:
            raise UserError("nothing to evaluate: not one picture was seen")
        return Measured({"loss": total / samples}, int(samples), None)
