"""How good a classifier is on labelled pictures."""

from __future__ import annotations

import torch
from torch import nn

from muntin.data import Loader
from muntin.engine.parallel import all_sum
from muntin.evals import TopK, TopKResult


@torch.inference_mode()
def evaluate(model: nn.Module, loader: Loader, num_classes: int) -> TopKResult:
    """Top-1, top-5 (of more than five classes) and the confusion matrix over all processes; each sample counts once.

    The loader reads this process's share (shuffle=False, drop_last=False, rank and world set). Leaves the model in
    the mode, training or evaluation, in which it came.
    """
    device = next(model.parameters()).device
    measure, was_training = TopK(num_classes), model.training
    model.eval()
    for batch in loader.epoch(0):
        measure.update(model(batch["image"].to(device)), batch["label"])
    model.train(was_training)
    measure.load(all_sum(measure.state().to(device)))
    return measure.result()
