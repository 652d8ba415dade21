"""The learning rate of every update, on the clocks of the papers' official codes.

The curves are Swin's (lr_scheduler.py on timm 0.4.12) and ViT's linear one (utils.py of vision_transformer).
"""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal, get_args

from muntin.engine.ranges import above_zero, at_least, listed, not_negative, require
from muntin.errors import UserError

Kind = Literal["cosine", "linear", "linear_to_min", "step", "multistep"]
Clock = Literal["late_update", "update", "inclusive_update", "epoch", "late_epoch"]

LINEAR_END = 0.01  # of the peak; fixed in the official code


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the learning rate moves: a linear warm-up, then one of five curves."""

    kind: Kind = "cosine"
    """cosine: down to min_lr. linear: down to 1 % of the peak. linear_to_min: down to min_lr (ViT).
    step: times decay_rate every decay_epochs. multistep: times decay_rate at each of `milestones`."""
    clock: Clock = "late_update"
    """When the rate moves. update: after each update (ViT). late_update: the same, one update late: the first two share
    a rate (Swin). inclusive_update: as update, but the last update of the warm-up has the peak already, and
    optim.layer_decay scales the whole curve (ConvNeXt). epoch: after each epoch (CvT). late_epoch: the same, one epoch
    late (DeiT)."""
    epochs: int = 300
    """Passes over the training data."""
    warmup_epochs: float = 20.0
    """Epochs of linear warm-up, counted within `epochs`; parts of an epoch count where the clock moves
    with the updates, and are left out where it moves with the epochs."""
    warmup_lr: float = 5e-7
    """Rate the warm-up starts from, for optim.lr_batch samples like lr; the same for every layer."""
    min_lr: float = 5e-6
    """Rate that cosine and linear_to_min end at, for optim.lr_batch samples like lr; the same for every layer."""
    warmup_prefix: bool = True
    """The cosine starts after the warm-up; otherwise (DeiT, CvT) it runs from update 0 and the warm-up hides its
    beginning."""
    decay_epochs: float = 30.0
    """step: epochs between two decays, counted from the start of training."""
    decay_rate: float = 0.1
    """step and multistep: factor of one decay."""
    milestones: tuple[int, ...] = ()
    """multistep: the epochs of the decays, rising, none within the warm-up."""

    def __post_init__(self) -> None:
        warmup_fits = 0 <= self.warmup_epochs <= self.epochs
        require(
            self,
            {
                "kind": (self.kind in get_args(Kind), listed(get_args(Kind))),
                "clock": (self.clock in get_args(Clock), listed(get_args(Clock))),
                "epochs": at_least(1, self.epochs),
                "warmup_epochs": (warmup_fits, f"at least 0 and at most epochs, {self.epochs}"),
                "warmup_lr": not_negative(self.warmup_lr),
                "min_lr": not_negative(self.min_lr),
                "decay_epochs": above_zero(self.decay_epochs),
                "decay_rate": (0 < self.decay_rate <= 1, "above 0 and at most 1"),
            },
        )
        if self.kind == "multistep" and (
            not self.milestones
            or list(self.milestones) != sorted(self.milestones)
            or self.milestones[0] < self.warmup_epochs
        ):
            raise UserError(
                f"milestones is {self.milestones}; the multistep schedule needs rising epochs, "
                f"none before the end of the warm-up ({self.warmup_epochs:g})"
            )

    def scaled(self, factor: float) -> Schedule:
        """The same curve with its absolute rates, warmup_lr and min_lr, times `factor` (`Optim.scale`)."""
        return dataclasses.replace(self, warmup_lr=self.warmup_lr * factor, min_lr=self.min_lr * factor)

    def lr(self, update: int, peak: float, updates_per_epoch: int) -> float:
        """The rate used by update `update` (from 0) of a parameter group whose peak rate is `peak`.

        warmup_lr and min_lr are absolute: they do not follow `peak`.
        """
        t, an_epoch = self._time(update, updates_per_epoch)
        total, warmup = self.epochs * an_epoch, int(self.warmup_epochs * an_epoch)
        if t < warmup:
            ticks = max(warmup - 1, 1) if self.clock == "inclusive_update" else warmup
            return self.warmup_lr + t * (peak - self.warmup_lr) / ticks
        match self.kind:
            case "cosine":
                start = warmup if self.warmup_prefix else 0
                if t >= total:
                    return self.min_lr
                return self.min_lr + (peak - self.min_lr) * (1 + math.cos(math.pi * (t - start) / (total - start))) / 2
            case "linear":
                return peak - peak * (1 - LINEAR_END) * (t - warmup) / max(total - warmup, 1)
            case "linear_to_min":
                return peak - (peak - self.min_lr) * (t - warmup) / max(total - warmup, 1)
            case "step":
                return peak * self.decay_rate ** (t // max(int(self.decay_epochs * an_epoch), 1))
            case "multistep":
                return peak * self.decay_rate ** bisect_right([m * an_epoch for m in self.milestones], t)

    def layer_lr(self, update: int, peak: float, scale: float, updates_per_epoch: int) -> float:
        """The rate used by a layer that `Optim.layer_decay` leaves `scale` of the peak.

        On ConvNeXt's clock the whole curve is scaled, as in its code (engine.py). On all others the peak alone is, and
        a layer whose peak is below min_lr rises to it, as with timm's scheduler in the official code of SimMIM.
        """
        if self.clock == "inclusive_update":
            return scale * self.lr(update, peak, updates_per_epoch)
        return self.lr(update, scale * peak, updates_per_epoch)

    def _time(self, update: int, updates_per_epoch: int) -> tuple[int, int]:
        """What the clock shows during an update, and how far it goes in an epoch.

        Swin's code sets the rate after each update, DeiT's after each epoch with that epoch's number, both for what
        comes next: so the first two updates (epochs) have the first rate and all later ones lag by one; kept.
        """
        match self.clock:
            case "update" | "inclusive_update":
                return update, updates_per_epoch
            case "late_update":
                return max(update - 1, 0), updates_per_epoch
            case "epoch":
                return update // updates_per_epoch, 1
            case "late_epoch":
                return max(update // updates_per_epoch - 1, 0), 1
