"""Image classification: the classifier, its loss, its prediction."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from muntin.heads.readout import PooledReadout
from muntin.models.features import Backbone, Features


class Classifier(nn.Module):
    """A backbone and a readout: images (B, C, H, W) -> logits (B, K), or pooled features when num_classes is 0."""

    def __init__(self, backbone: Backbone, num_classes: int):
        super().__init__()
        self.backbone = backbone
        self.readout = PooledReadout(backbone.channels[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.backbone(x).levels)  # type: ignore[operator]

    def forward_features(self, x: Tensor) -> Features:
        """Every level of the backbone."""
        return self.backbone(x)  # type: ignore[operator]

    def layers(self) -> list[list[nn.Module]]:
        return [*self.backbone.layers(), [self.readout]]

    @property
    def num_classes(self) -> int:
        return self.readout.head.out_features if isinstance(self.readout.head, nn.Linear) else 0

    @property
    def num_features(self) -> int:
        return self.backbone.channels[-1]

    def get_classifier(self) -> nn.Module:
        return self.readout.head

    def reset_classifier(self, num_classes: int) -> None:
        """Give the model a new, freshly initialised head."""
        self.readout.set_head(num_classes)

    def initialise(self) -> None:
        """Fresh weights everywhere, also for a model built on the meta device and given memory by `to_empty`."""
        self.backbone.initialise()
        self.readout.initialise()


class Classification(nn.Module):
    """Trains a classifier by cross-entropy, against labels or against the soft targets that mixing makes.

    batch: "image" (B, C, H, W) with "label" (B,) or "target" (B, K); label smoothing is part of the targets.
    """

    def __init__(self, model: Classifier):
        super().__init__()
        self.model = model

    def forward(self, batch: dict) -> dict[str, Tensor]:
        return self.losses(batch)

    def losses(self, batch: dict) -> dict[str, Tensor]:
        logits = self.model(batch["image"])
        target = batch["target"] if "target" in batch else batch["label"]
        return {"cross_entropy": F.cross_entropy(logits.float(), target)}

    def predict(self, batch: dict) -> dict[str, Tensor]:
        return {"logits": self.model(batch["image"]).float()}

    def layers(self) -> list[list[nn.Module]]:
        return self.model.layers()
