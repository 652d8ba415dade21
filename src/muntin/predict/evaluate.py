"""How good a classifier is on labelled pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from muntin.data import Loader
from muntin.engine import to_device
from muntin.engine.parallel import all_sum
from muntin.evals import Heads, HeadsResult, TopK, TopKResult
from muntin.tasks import Classifier

Measure = TypeVar("Measure", TopK, Heads)


def evaluate(model: nn.Module, loader: Loader, num_classes: int) -> TopKResult:
    """Top-1, top-5 (of more than five classes) and the confusion matrix over all processes; each sample counts once.

    The loader reads this process's share (shuffle=False, drop_last=False, rank and world set). Leaves the model in
    the mode, training or evaluation, in which it came.
    """
    measure, was_training = TopK(num_classes), model.training
    _answer(model.eval(), loader, measure.update)
    model.train(was_training)
    return _over_processes(measure, model).result()


def evaluate_heads(model: Classifier, loader: Loader, num_classes: int) -> tuple[TopKResult, HeadsResult]:
    """What `evaluate` tells of a model with a `DistilledReadout`, and what its two heads would say alone."""
    fused, alone, was_training = TopK(num_classes), Heads(), model.training

    def update(pair: tuple[Tensor, Tensor], labels: Tensor) -> None:
        alone.update(*pair, labels)
        fused.update((pair[0] + pair[1]) / 2, labels)

    model.eval().readout.train()  # it gives the pair then; nothing else in it depends on the mode
    _answer(model, loader, update)
    model.train(was_training)
    return _over_processes(fused, model).result(), _over_processes(alone, model).result()


@torch.inference_mode()
def _answer(model: nn.Module, loader: Loader, update: Callable) -> None:
    """Show the model every picture, and `update` what it says of them with their labels."""
    device = next(model.parameters()).device
    for batch in loader.epoch(0):
        update(model(to_device(batch.inputs["image"], device)), batch.target["label"])


def _over_processes(measure: Measure, model: nn.Module) -> Measure:
    """A measure with the counts of all processes."""
    measure.load(all_sum(measure.state().to(next(model.parameters()).device)))
    return measure
