import numpy as np
import torch
from torch import nn

from muntin.data import Digits, Loader, PictureInput, Subset, eval_transform
from muntin.heads import DistilledReadout
from muntin.models.backbone import Features
from muntin.predict import evaluate, evaluate_heads
from muntin.tasks import Classifier

PREPROCESS = PictureInput(image_size=(8, 8), crop_ratio=0.0, mean=(0.5,), std=(0.5,))


def test_evaluation_counts_every_sample_once_and_keeps_the_mode():
    torch.manual_seed(0)
    source = Subset(Digits("val"), list(range(0, 1000, 43)))
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).train()
    result = evaluate(model, Loader(source, eval_transform(PREPROCESS), batch_size=5), num_classes=10)
    assert model.training
    assert result.samples == len(source) == 24

    right, transform = 0, eval_transform(PREPROCESS)
    for index in range(len(source)):
        sample = transform(source.read(index), np.random.default_rng(0))
        with torch.no_grad():
            right += model(sample.inputs["image"][None]).argmax().item() == sample.target["label"]
    assert result.top1 == right / 24


class Halves(nn.Module):
    """Two tokens, the upper and the lower half of a picture."""

    channels = (32,)

    def forward(self, x):
        return Features([], x.reshape(len(x), 2, 32))


def test_both_heads_are_measured_together_and_alone():
    torch.manual_seed(0)
    source = Subset(Digits("val"), list(range(0, 1000, 9)))
    model = Classifier(Halves(), 10, DistilledReadout).eval()
    loader = Loader(source, eval_transform(PREPROCESS), batch_size=50)
    fused, alone = evaluate_heads(model, loader, num_classes=10)
    assert not model.training
    assert not model.readout.training
    assert fused.confusion.equal(evaluate(model, loader, num_classes=10).confusion)

    images, labels = (
        torch.cat(parts) for parts in zip(*((b.inputs["image"], b.target["label"]) for b in loader.epoch(0)))
    )
    first, second = (logits.argmax(1) for logits in model.train()(images))
    expected = (first == labels, second == labels, first != second)
    assert alone == tuple(found.double().mean().item() for found in expected)
    assert alone.class_head_top1 != alone.distillation_head_top1
