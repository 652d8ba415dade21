import numpy as np
import torch
from torch import nn

from muntin.data import Digits, Loader, PictureInput, Subset
from muntin.engine.evaluate import evaluate
from muntin.heads import DistilledReadout
from muntin.models.backbone import Features
from muntin.tasks import Classification, Classifier

INPUTS = PictureInput(image_size=(8, 8), crop_ratio=0.0, mean=(0.5,), std=(0.5,))


class Pixels(nn.Module):
    """One cell with all pixels of a picture."""

    channels = (64,)

    def forward(self, x):
        return Features([x.reshape(len(x), 64, 1, 1)])


class Halves(nn.Module):
    """Two tokens, the upper and the lower half of a picture."""

    channels = (32,)

    def forward(self, x):
        return Features([], x.reshape(len(x), 2, 32))


def test_evaluation_counts_every_sample_once_and_keeps_the_mode():
    torch.manual_seed(0)
    source, transform = Subset(Digits("val"), list(range(0, 1000, 43))), INPUTS.eval_transform()
    task = Classification(Classifier(Pixels(), 10)).train()
    measured = evaluate(task, Loader(source, transform, batch_size=5))
    assert task.training
    assert measured.samples == len(source) == 24

    right, model = 0, task.model.eval()
    for index in range(len(source)):
        sample = transform(source.read(index), np.random.default_rng(0))
        with torch.no_grad():
            right += model(sample.inputs["image"][None]).argmax().item() == sample.target["label"]
    assert measured.numbers["top1"] == right / 24


def test_both_heads_are_measured_together_and_alone():
    torch.manual_seed(0)
    task = Classification(Classifier(Halves(), 10, DistilledReadout)).eval()
    loader = Loader(Subset(Digits("val"), list(range(0, 1000, 9))), INPUTS.eval_transform(), batch_size=50)
    numbers = evaluate(task, loader).numbers
    assert not task.training
    assert not task.model.readout.training

    images, labels = (
        torch.cat(parts) for parts in zip(*((b.inputs["image"], b.target["label"]) for b in loader.epoch(0)))
    )
    both = task.model.by_head(images)
    first, second = (logits.argmax(1) for logits in both)
    expected = {
        "top1": (sum(both) / 2).argmax(1) == labels,
        "class_head_top1": first == labels,
        "distillation_head_top1": second == labels,
    }
    assert {name: numbers[name] for name in expected} == {n: e.double().mean().item() for n, e in expected.items()}
    assert numbers["class_head_top1"] != numbers["distillation_head_top1"]
