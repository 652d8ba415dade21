"""Recorded cases of distillation: the losses of all kinds of teaching, and their gradients."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from muntin.data import Batch
from muntin.data.loading.mixing import soft_target
from muntin.formats import vit as vit_files
from muntin.heads import DistilledReadout
from muntin.models.deit import DeiT, DeiTConfig
from muntin.models.vit import EPS
from muntin.tasks import Classifier, Distillation, hard_distillation, soft_distillation

from .case import Case

LOSS, GRADIENT = 2e-5, 1e-4  # absolute, and of the largest entry: the README of the case


class Said(nn.Module):
    """A teacher that has made up its mind."""

    def __init__(self, logits: Tensor):
        super().__init__()
        self.register_buffer("logits", logits)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits


class AsGiven(Distillation):
    """Binary cross-entropy against targets as they are: the original binarises them in its loop, not in its loss."""

    def label_loss(self, logits: Tensor, batch: Batch) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, batch.target["soft"])


def check_distillation(case: Case) -> None:
    """Every recorded way of teaching, on the case's student in training mode."""
    student = _student(case.config["model"])
    student.load_state_dict(vit_files.read(case.under("weights/")).tensors)
    image, labels = case.tensors["input/image"], case.tensors["input/labels"]
    smoothed = soft_target(labels, student.num_classes, lam=1.0, smoothing=0.1)
    for name, variant in case.config["variants"].items():
        target = smoothed if variant["base_criterion"].startswith("label") else case.tensors["input/soft_targets"]
        student.zero_grad()
        by_class, by_token = student.train()(image)
        case.compare("output/logits_cls", by_class, LOSS)
        case.compare("output/logits_dist", by_token, LOSS)
        if variant["distillation_type"] == "none":
            loss = F.cross_entropy(by_class, target)
        else:
            task = _task(variant, student, Said(case.tensors["input/teacher_logits"]))
            loss = sum(task(Batch({"image": image}, {"soft": target})).terms.values())
        loss.backward()
        case.compare(f"output/loss/{name}", loss, LOSS)
        gradients = vit_files.write(
            {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in student.named_parameters()}, "timm"
        )
        for key, expected in case.under(f"grad/{name}/").items():
            case.compare(f"grad/{name}/{key}", gradients[key], GRADIENT * expected.abs().max().item() + 1e-12)
    case.assert_all_compared()


def _student(official: dict[str, Any]) -> Classifier:
    patch, side = official["patch_size"], official["img_size"]
    config = DeiTConfig(
        patch=(patch, patch),
        dim=official["embed_dim"],
        depth=official["depth"],
        heads=official["num_heads"],
        grid=(side // patch, side // patch),
        distilled=True,
    )
    return Classifier(DeiT(config), official["num_classes"], partial(DistilledReadout, eps=EPS))


def _task(variant: dict[str, Any], student: Classifier, teacher: nn.Module) -> Distillation:
    soft = partial(soft_distillation, temperature=variant["tau"])
    imitate = soft if variant["distillation_type"] == "soft" else hard_distillation
    kind = AsGiven if variant["base_criterion"] == "bce" else Distillation
    return kind(student, teacher, imitate=imitate, alpha=variant["alpha"])
