"""How good a task is on held-out pictures, over all processes."""

from __future__ import annotations

import torch
from torch import nn

from muntin.data import Loader
from muntin.engine import to_device
from muntin.engine.parallel import all_sum
from muntin.heads import DistilledReadout
from muntin.predict import evaluate, evaluate_heads
from muntin.tasks import Classification, SimMIM


def measure(task: nn.Module, val: Loader) -> dict[str, float]:
    """Top-1 of a classification (top-5 too, with more than five classes), the loss of SimMIM; each sample once.

    A distilled model is measured as it answers, by both heads; what each would say alone is told, too.
    "left_out" is the number of pictures that cannot be read, where there are some.
    """
    if isinstance(task, SimMIM):
        loss, samples = _mean_loss(task, val)
        metrics = {"loss": loss}
    else:
        assert isinstance(task, Classification)
        alone = {}
        if isinstance(task.model.readout, DistilledReadout):
            result, heads = evaluate_heads(task.model, val, len(val.source.classes))
            alone = heads._asdict()
        else:
            result = evaluate(task.model, val, len(val.source.classes))
        metrics = {"top1": result.top1} | ({} if result.top5 is None else {"top5": result.top5}) | alone
        samples = result.samples
    left_out = len(val.source) - samples
    return metrics | ({"left_out": left_out} if left_out else {})


def _mean_loss(task: SimMIM, val: Loader) -> tuple[float, int]:
    """The loss, and how many pictures it is the mean of.

    Masks are those of epoch 0 in every evaluation, so that losses of different epochs compare.
    """
    device = next(task.parameters()).device
    total = torch.zeros(2, dtype=torch.float64, device=device)
    for batch in val.epoch(0):
        loss, count = sum(task.losses(to_device(batch, device)).values()), len(batch.indices)
        total += torch.tensor([float(loss) * count, count], dtype=torch.float64, device=device)
    loss_sum, samples = all_sum(total).tolist()
    return loss_sum / samples, int(samples)
