"""Networks that were trained before, such as the teacher of a distillation."""

from __future__ import annotations

import torch

from muntin import catalog
from muntin.errors import UserError
from muntin.files import config_beside
from muntin.tasks.task import Trained
from muntin.weights.create import create_model
from muntin.weights.folder import load_model
from muntin.weights.load import weights_file


def load_trained(weights: str, name: str, num_classes: int, in_chans: int, option: str, *, seed: int) -> Trained:
    """Load a trained network: a `Load` of `tasks.task`.

    A model folder or run folder tells its model, its classes and its inputs; a bare file needs a name. Fresh weights
    are drawn from `seed`, so that every process has the same.
    """
    if weights and config_beside(weights_file(weights)) is not None:
        saved = load_model(weights)
        if name and catalog.entry(name).name != saved.name:
            raise UserError(f"{weights} holds a {saved.name} and not a {name}; leave {option} out")
        if not saved.classes:
            raise UserError(f"{weights} names no classes; fine-tune it first")
        return Trained(saved.model, saved.name, saved.classes, saved.fed())
    if not name:
        raise UserError(f"{weights} has no config.json beside it; name the model of the weights with {option} NAME")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = create_model(name, num_classes=num_classes, weights=weights or None, in_chans=in_chans)
    return Trained(model, name, None, None)
