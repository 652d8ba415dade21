"""Image classification: the classifier, its loss, its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from muntin.answers import Classes
from muntin.data import Augment, Batch, Inputs, stack, unprepared
from muntin.errors import UserError, unknown
from muntin.evals import ClassesMeter
from muntin.heads import PooledReadout, Readout, mean_logits
from muntin.models.backbone import Backbone, Features

from .task import About, Best, Load, Losses, Models, Shown

Loss = Literal["cross_entropy", "binary_cross_entropy"]


class Classifier(nn.Module):
    """A backbone and a readout: images (B, C, H, W) -> logits (B, K), or the pooled vector when num_classes is 0.

    readout: makes the module that turns features into logits, from the channels of the coarsest level and the number
    of classes: a class of `heads`, or a `partial` of one. A model of several heads (`DistilledReadout`) gives the tuple
    of their logits in training mode, for a loss each, and the mean of them in evaluation.
    """

    kind = "classifier"  # of what a model folder holds

    def __init__(self, backbone: Backbone, num_classes: int, readout: Callable[[int, int], Readout] = PooledReadout):
        super().__init__()
        self.backbone = backbone
        self.readout = readout(backbone.channels[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        by_head = self.by_head(x)
        return by_head if self.training and self.num_classes and len(by_head) > 1 else mean_logits(by_head)

    def by_head(self, x: Tensor) -> tuple[Tensor, ...]:
        """The logits of every head by itself, in any mode: images (B, C, H, W) -> (B, K) each."""
        return self.readout(*self.backbone(x))  # type: ignore[operator]

    def forward_features(self, x: Tensor) -> Features:
        """Every level of the backbone, and the tokens before them."""
        return self.backbone(x)  # type: ignore[operator]

    def answering(self) -> dict[str, Any]:
        """What the model answers as a task, see `Task.answering`."""
        return {"kind": ClassificationChoice.kind}

    def parts(self) -> dict[str, nn.Module]:
        return {"backbone": self.backbone, "head": self.readout}  # type: ignore[dict-item]

    def layers(self) -> list[list[nn.Module]]:
        return [*self.backbone.layers(), [self.readout]]

    @property
    def num_classes(self) -> int:
        return self.readout.num_classes

    @property
    def num_features(self) -> int:
        """Channels of what the head classifies."""
        return self.readout.width

    def get_classifier(self) -> nn.Module:
        return self.readout.head

    def reset_classifier(self, num_classes: int, scale: float = 1.0) -> None:
        """Give the model a new, freshly initialised head, its weights times `scale`."""
        self.readout.set_head(num_classes, scale)
        parts: nn.Module = self.backbone  # type: ignore[assignment]
        self.readout.to(next(parts.parameters()))  # where the model is, and of its type

    def initialise(self) -> None:
        """Fresh weights everywhere, also for a model built on the meta device and given memory by `to_empty`."""
        self.backbone.initialise()
        self.readout.initialise()


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Softmax cross-entropy, mean over the batch: (B, K) with labels (B,) or targets (B, K) -> scalar, in fp32."""
    return F.cross_entropy(logits.float(), target)


def binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy for each class, mean over batch and classes: (B, K) with (B,) or (B, K) -> scalar, in fp32.

    Every target above 0 counts as 1 (DeiT III; the official training loop): both classes of a mixed picture are
    present, whatever their shares. Smoothed targets would make every class present and are not allowed.
    """
    if target.ndim == 1:
        target = F.one_hot(target, logits.shape[1])
    return F.binary_cross_entropy_with_logits(logits.float(), (target > 0).float())


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
}


class Classification(nn.Module):
    """Trains a classifier against labels, or against the soft targets that mixing makes.

    batch: inputs "image" (B, C, H, W); target "label" (B,), or "soft" (B, K), of which label smoothing is a part.
    loss: a name of `LOSSES`. classes: their names. Several heads (class head, distillation head) have no teacher here:
    all learn the labels, and the loss is the mean of theirs.
    """

    best = Best("top1", higher=True)
    shown = (Shown("top1", "top-1"), Shown("top5", "top-5"))
    answers = "classes"
    prepare, collate = staticmethod(unprepared), staticmethod(stack)

    def __init__(self, model: Classifier, loss: str = "cross_entropy", classes: tuple[str, ...] = ()):
        super().__init__()
        if loss not in LOSSES:
            raise unknown("loss", loss, LOSSES)
        self.model, self.loss, self.classes = model, loss, classes

    @staticmethod
    def kept(models: Models, num_classes: int) -> Classifier:
        """An empty module of the kind that `keeps` gives."""
        return models.classifier(num_classes)

    @classmethod
    def for_answering(
        cls, kept: Classifier, fields: Mapping[str, Any], inputs: Inputs | None, classes: tuple[str, ...]
    ) -> Classification:
        """Make the task of a saved classifier."""
        return cls(kept, classes=classes)

    def forward(self, batch: Batch) -> Losses:
        return self.losses(batch)

    def losses(self, batch: Batch) -> Losses:
        losses = [self.label_loss(logits, batch) for logits in self.logits(batch)]
        return Losses({self.loss: torch.stack(losses).mean()})

    def logits(self, batch: Batch) -> tuple[Tensor, ...]:
        """The logits that are judged: those of every head (B, K) in training, the model's one answer in evaluation."""
        by_head = self.model.by_head(batch.inputs["image"])
        return by_head if self.training else (mean_logits(by_head),)

    def label_loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """The loss of one head's logits (B, K) against the targets of the batch."""
        target = batch.target
        return LOSSES[self.loss](logits, target["soft"] if "soft" in target else target["label"])

    def answer(self, batch: Batch) -> Classes:
        by_head = self.model.by_head(batch.inputs["image"])
        heads = tuple(logits.float() for logits in by_head) if len(by_head) > 1 else ()
        return Classes(mean_logits(by_head).float(), heads)

    def meter(self) -> ClassesMeter:
        return ClassesMeter(self.model.num_classes, two_heads=len(self.model.readout.heads()) > 1)

    def layers(self) -> list[list[nn.Module]]:
        return self.model.layers()

    def parts(self) -> dict[str, nn.Module]:
        return self.model.parts()

    def companions(self) -> dict[str, nn.Module]:
        return {}

    def keeps(self) -> Classifier:
        return self.model

    def answering(self) -> dict[str, Any]:
        return self.model.answering()

    def initialise(self) -> None:
        self.model.initialise()

    def no_weight_decay(self) -> set[str]:
        return set()

    def opening(self) -> list[str]:
        return []

    def closing(self, summary: Mapping[str, Any]) -> str:
        count = summary["val_samples"]
        return f"top-1 {summary['top1']:.2%} on {count:,} pictures" if count else "no held-out pictures to measure on"

    def then(self, run: str, data: str, inputs: Inputs) -> str:
        return f"muntin predict {run} {data if data == 'digits' else 'PICTURES'}"


def check_targets(loss: Loss, augment: Augment) -> None:
    """Raise UserError for smoothed targets with a loss that counts every target above 0 as present."""
    if loss == "binary_cross_entropy" and augment.smoothing:
        raise UserError(
            f"binary_cross_entropy counts every class with a share above 0 as present, and smoothing "
            f"{augment.smoothing:g} gives each class one: set --smoothing 0, or --loss cross_entropy"
        )


@dataclass(frozen=True, kw_only=True)
class ClassificationChoice:
    """Learn classes from labels."""

    kind: Literal["classification"] = field(default="classification", init=False)
    loss: Loss = "cross_entropy"
    """Against the labels: softmax cross-entropy, or a yes or no for each class, where any share above 0 is a yes."""

    labelled: ClassVar[bool] = True
    task: ClassVar[type] = Classification

    def check(self, augment: Augment) -> None:
        """Raise UserError where the loss cannot learn from the targets that this augmentation makes."""
        check_targets(self.loss, augment)

    def tiny(self) -> ClassificationChoice:
        """The choice for small pictures and a trial."""
        return self

    def build(self, models: Models, about: About, load: Load) -> Classification:
        """The task with the chosen model, for the classes of the data."""
        return Classification(models.classifier(len(about.classes)), self.loss, about.classes)
