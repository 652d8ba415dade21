"""How good a task is on samples, over all processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from muntin.data import Batch
from muntin.engine import parallel
from muntin.engine.device import to_device
from muntin.engine.step import Batches
from muntin.evals import Measured


def evaluate(task: nn.Module, batches: Batches) -> Measured:
    """Measure a task with its own meter; each sample counts once.

    batches: this process's share, in a fixed order; always those of epoch 0, so that evaluations can be compared. The
    task keeps its mode, training or evaluation.
    """
    meter = task.meter()  # type: ignore[operator]
    for batch, answer in answers(task, batches):
        meter.update(answer, batch)
    meter.merge(parallel.gather(meter.state()))
    return meter.result()


def answers(task: nn.Module, batches: Batches) -> Iterator[tuple[Batch, Any]]:
    """Each batch, on the task's device, and what the task answers to it."""
    device, was_training = next(task.parameters()).device, task.training
    task.eval()
    try:
        for batch in batches.epoch(0):
            batch = to_device(batch, device)
            with torch.no_grad():  # not inference_mode: what a module caches here must serve training too
                answer = task.answer(batch)  # type: ignore[operator]
            yield batch, answer
    finally:
        task.train(was_training)
