"""Mixup (Zhang et al., 2017, arXiv:1710.09412), CutMix (Yun et al., 2019, arXiv:1905.04899) and label smoothing.

As the DeiT, Swin and ConvNeXt recipes have them (timm): the partner of picture i is picture B - 1 - i, smoothing is
inside the targets. torchvision's classes of these names roll the batch by one, draw once a batch, and smooth in the
loss. A batch is what one process takes at a time: partner and draw depend on the number of processes and of
micro-steps, unlike all other randomness here.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from muntin.data.loading.batch import Batch
from muntin.data.transforms.augment import Augment

Box = tuple[int, int, int, int]  # top, bottom, left, right; half open


class Draw(NamedTuple):
    """How a picture is mixed with its partner."""

    lam: float  # the own picture's share of the target
    box: Box | None = None  # what CutMix pastes; None: Mixup, which lam = 1 leaves as it is


class Mixing:
    """Adds soft targets to a labelled batch and mixes its pictures. See `Augment` for the arguments.

    The targets are for a soft-target cross entropy. A binary cross entropy such as DeiT III's counts every target above
    0 as present: both labels then count fully, whatever lambda is. With smoothing every class would be present, so
    smoothing must be 0 there.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        cutmix_sides: tuple[float, float] = (0.0, 0.0),
        mix_mode: Literal["batch", "pair", "element"] = "batch",
        mix_probability: float = 1.0,
        mix_switch: float = 0.5,
        smoothing: float = 0.0,
    ):
        self.num_classes, self.smoothing = num_classes, smoothing
        self.mixup, self.cutmix, self.cutmix_sides = mixup, cutmix, cutmix_sides
        self.mix_mode, self.mix_probability, self.mix_switch = mix_mode, mix_probability, mix_switch

    def __call__(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """The batch with inputs["image"] (B, C, *S) mixed and with target["soft"] (B, K).

        In a batch of odd size, which timm refuses, the middle picture is its own partner and stays as it is.
        """
        image, label = batch.inputs["image"], batch.target["label"]
        B, size = len(image), (image.shape[-2], image.shape[-1])
        lam: float | Tensor
        if self.mix_mode == "batch":
            draw = self.draw(size, rng)
            image, lam = mix(image, image.flip(0), draw), draw.lam
        else:
            count = B if self.mix_mode == "element" else (B + 1) // 2
            draws = [self.draw(size, rng) for _ in range(count)]
            draws += draws[: B - count][::-1]  # the two of a pair are mixed alike
            image = torch.stack([mix(*each) for each in zip(image, image.flip(0), draws)])
            lam = torch.tensor([draw.lam for draw in draws])[:, None]
        soft = soft_target(label, self.num_classes, lam, self.smoothing)
        return batch._replace(inputs=batch.inputs | {"image": image}, target=batch.target | {"soft": soft})

    def draw(self, size: tuple[int, int], rng: np.random.Generator) -> Draw:
        """Draw one random mix for pictures of `size` (height, width). After CutMix, lam is the share that the box
        leaves.
        """
        if not (self.mixup or self.cutmix) or rng.random() >= self.mix_probability:
            return Draw(1.0)
        if not self.cutmix or (self.mixup and rng.random() >= self.mix_switch):
            return Draw(rng.beta(self.mixup, self.mixup))
        if any(self.cutmix_sides):
            box = sides_box(size, self.cutmix_sides, rng)
        else:
            centre = int(rng.integers(size[0])), int(rng.integers(size[1]))
            box = cut_box(size, rng.beta(self.cutmix, self.cutmix), centre)
        return Draw(own_share(box, size), box)


def make_mixing(augment: Augment, num_classes: int) -> Mixing | None:
    """The mixing and smoothing that `augment` describes; None if all of it is off."""
    if not (augment.mixup or augment.cutmix or augment.smoothing):
        return None
    return Mixing(
        num_classes,
        mixup=augment.mixup,
        cutmix=augment.cutmix,
        cutmix_sides=augment.cutmix_sides,
        mix_mode=augment.mix_mode,
        mix_probability=augment.mix_probability,
        mix_switch=augment.mix_switch,
        smoothing=augment.smoothing,
    )


def mix(image: Tensor, partner: Tensor, draw: Draw) -> Tensor:
    """Mixup: lam * x + (1 - lam) * partner. CutMix: the partner's box in x. Both (..., H, W), and so the result."""
    if draw.box is None:
        return image if draw.lam == 1 else image * draw.lam + partner * (1 - draw.lam)
    top, bottom, left, right = draw.box
    mixed = image.clone()
    mixed[..., top:bottom, left:right] = partner[..., top:bottom, left:right]
    return mixed


def cut_box(size: tuple[int, int], lam: float, centre: tuple[int, int]) -> Box:
    """CutMix's box: sides int(side * sqrt(1 - lam)) about `centre`, halves rounded down, clipped to the picture."""
    (H, W), (y, x) = size, centre
    half_h, half_w = int(H * (1 - lam) ** 0.5) // 2, int(W * (1 - lam) ** 0.5) // 2
    return max(y - half_h, 0), min(y + half_h, H), max(x - half_w, 0), min(x + half_w, W)


def sides_box(size: tuple[int, int], sides: tuple[float, float], rng: np.random.Generator) -> Box:
    """A box whose sides are each uniform between two shares of the picture's, anywhere inside it (timm's minmax).

    Both ends count; timm never draws the upper one.
    """
    height, width = (int(rng.integers(int(side * sides[0]), int(side * sides[1]) + 1)) for side in size)
    top, left = int(rng.integers(size[0] - height + 1)), int(rng.integers(size[1] - width + 1))
    return top, top + height, left, left + width


def own_share(box: Box, size: tuple[int, int]) -> float:
    """CutMix's lambda, corrected: the share of the picture outside of the box after the border has clipped it."""
    top, bottom, left, right = box
    return 1 - (bottom - top) * (right - left) / (size[0] * size[1])


def soft_target(label: Tensor, num_classes: int, lam: float | Tensor, smoothing: float) -> Tensor:
    """lam * t + (1 - lam) * partner's t, with t = 1 - s + s / K for the label and s / K elsewhere. (B,) -> (B, K).

    lam: one for all, or one a picture, (B, 1).
    """
    target = one_hot(label, num_classes).to(torch.float32) * (1 - smoothing) + smoothing / num_classes
    return target * lam + target.flip(0) * (1 - lam)
