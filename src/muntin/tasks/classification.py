"""Image classification: the classifier, its loss, its prediction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from muntin.data import Augment
from muntin.errors import UserError, unknown
from muntin.heads import PooledReadout, Readout
from muntin.models.backbone import Backbone, Features

Loss = Literal["cross_entropy", "binary_cross_entropy"]


@dataclass(frozen=True, kw_only=True)
class ClassificationChoice:
    """Classes, learnt from labels."""

    kind: Literal["classification"] = field(default="classification", init=False)
    loss: Loss = "cross_entropy"
    """Against the labels: softmax cross-entropy, or a yes or no for each class, where any share above 0 is a yes."""

    def check(self, augment: Augment) -> None:
        """Raise UserError where the loss cannot learn from the targets that this augmentation makes."""
        check_targets(self.loss, augment)

    def tiny(self) -> ClassificationChoice:
        """The choice for small pictures and a trial."""
        return self


def check_targets(loss: Loss, augment: Augment) -> None:
    """Raise UserError for smoothed targets of a loss that takes every share of a class for a yes."""
    if loss == "binary_cross_entropy" and augment.smoothing:
        raise UserError(
            f"binary_cross_entropy counts every class with a share above 0 as present, and smoothing "
            f"{augment.smoothing:g} gives each class one: set --smoothing 0, or --loss cross_entropy"
        )


class Classifier(nn.Module):
    """A backbone and a readout: images (B, C, H, W) -> logits (B, K), or the pooled vector when num_classes is 0.

    readout: makes the module that turns features into logits, from the channels of the coarsest level and the number
    of classes: a class of `heads`, or a `partial` of one. With a `DistilledReadout` the model gives a pair of logits
    while it is in training mode.
    """

    def __init__(self, backbone: Backbone, num_classes: int, readout: Callable[[int, int], Readout] = PooledReadout):
        super().__init__()
        self.backbone = backbone
        self.readout = readout(backbone.channels[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(*self.backbone(x))  # type: ignore[operator]

    def forward_features(self, x: Tensor) -> Features:
        """Every level of the backbone, and the tokens before them."""
        return self.backbone(x)  # type: ignore[operator]

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
    """Each class a yes or no of its own, mean over batch and classes: (B, K) with (B,) or (B, K) -> scalar, in fp32.

    Whatever is above 0 in a target counts as 1 (DeiT III; the official training loop): both classes of a mixed picture
    are there, however much of each. Smoothed targets would make every class a yes and must not come here.
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

    batch: "image" (B, C, H, W) with "label" (B,) or "target" (B, K); label smoothing is part of the targets.
    loss: a name of `LOSSES`.
    A model that gives a pair of logits in training mode (class head, distillation head) has no teacher here: both heads
    learn the labels, and the loss is the mean of theirs.
    """

    def __init__(self, model: Classifier, loss: str = "cross_entropy"):
        super().__init__()
        if loss not in LOSSES:
            raise unknown("loss", loss, LOSSES)
        self.model, self.loss = model, loss

    def forward(self, batch: dict) -> dict[str, Tensor]:
        return self.losses(batch)

    def losses(self, batch: dict) -> dict[str, Tensor]:
        output = self.model(batch["image"])
        losses = [self.label_loss(logits, batch) for logits in (output if isinstance(output, tuple) else [output])]
        return {self.loss: torch.stack(losses).mean()}

    def label_loss(self, logits: Tensor, batch: dict) -> Tensor:
        """The loss of one head's logits (B, K) against what the batch says is there."""
        return LOSSES[self.loss](logits, batch["target"] if "target" in batch else batch["label"])

    def predict(self, batch: dict) -> dict[str, Tensor]:
        return {"logits": self.model(batch["image"]).float()}

    def layers(self) -> list[list[nn.Module]]:
        return self.model.layers()
