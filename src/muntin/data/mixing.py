"""Mixup (Zhang et al., 2017, arXiv:1710.09412), CutMix (Yun et al., 2019, arXiv:1905.04899) and label smoothing.

As the DeiT, Swin and ConvNeXt recipes have them (timm's batch mode): one draw a batch, the partner of picture i is
picture B - 1 - i, smoothing is inside the targets. A batch is what one process takes at a time: partner and draw depend
on the number of processes and of micro-steps, unlike all other randomness here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from muntin.data.augment import Augment

Box = tuple[int, int, int, int]  # top, bottom, left, right; half open


class Mixing:
    """Adds soft targets to a labelled batch and mixes its pictures. See `Augment` for the arguments."""

    def __init__(
        self,
        num_classes: int,
        *,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        mix_probability: float = 1.0,
        mix_switch: float = 0.5,
        smoothing: float = 0.0,
    ):
        self.num_classes, self.smoothing = num_classes, smoothing
        self.mixup, self.cutmix = mixup, cutmix
        self.mix_probability, self.mix_switch = mix_probability, mix_switch

    def __call__(self, batch: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """The batch with "image" (B, C, H, W) mixed and "target" (B, K); "label" stays the unmixed one.

        In a batch of odd size the middle picture is its own partner and stays as it is.
        """
        image, lam = batch["image"], 1.0
        if (self.mixup or self.cutmix) and rng.random() < self.mix_probability:
            if self.cutmix and (not self.mixup or rng.random() < self.mix_switch):
                H, W = image.shape[-2:]
                centre = int(rng.integers(H)), int(rng.integers(W))
                image, lam = cutmix(image, cut_box((H, W), rng.beta(self.cutmix, self.cutmix), centre))
            else:
                lam = rng.beta(self.mixup, self.mixup)
                image = mixup(image, lam)
        target = soft_target(batch["label"], self.num_classes, lam, self.smoothing)
        return batch | {"image": image, "target": target}


def make_mixing(augment: Augment, num_classes: int) -> Mixing | None:
    """What `augment` says about mixing and smoothing; None where all of it is off."""
    if not (augment.mixup or augment.cutmix or augment.smoothing):
        return None
    return Mixing(
        num_classes,
        mixup=augment.mixup,
        cutmix=augment.cutmix,
        mix_probability=augment.mix_probability,
        mix_switch=augment.mix_switch,
        smoothing=augment.smoothing,
    )


def mixup(image: Tensor, lam: float) -> Tensor:
    """lam * x + (1 - lam) * partner. (B, C, H, W) -> (B, C, H, W)."""
    return image * lam + image.flip(0) * (1 - lam)


def cut_box(size: tuple[int, int], lam: float, centre: tuple[int, int]) -> Box:
    """CutMix's box: sides int(side * sqrt(1 - lam)) about `centre`, halves rounded down, clipped to the picture."""
    (H, W), (y, x) = size, centre
    half_h, half_w = int(H * (1 - lam) ** 0.5) // 2, int(W * (1 - lam) ** 0.5) // 2
    return max(y - half_h, 0), min(y + half_h, H), max(x - half_w, 0), min(x + half_w, W)


def cutmix(image: Tensor, box: Box) -> tuple[Tensor, float]:
    """Paste the partner's box; also lam, the share of the own picture that is left. (B, C, H, W) -> (B, C, H, W)."""
    top, bottom, left, right = box
    H, W = image.shape[-2:]
    mixed = image.clone()
    mixed[..., top:bottom, left:right] = image.flip(0)[..., top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (H * W)


def soft_target(label: Tensor, num_classes: int, lam: float, smoothing: float) -> Tensor:
    """lam * t + (1 - lam) * partner's t, with t = 1 - s + s / K for the label and s / K elsewhere. (B,) -> (B, K)."""
    target = one_hot(label, num_classes).to(torch.float32) * (1 - smoothing) + smoothing / num_classes
    return target if lam == 1 else target * lam + target.flip(0) * (1 - lam)
