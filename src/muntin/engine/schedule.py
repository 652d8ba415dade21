"""The learning rate of every update, on the clocks of the papers' official codes.

The curves are Swin's (lr_scheduler.py on timm 0.4.12), ViT's linear one (utils.py of vision_transformer) and the
polynomial one of segmentation (mmcv 1.3.0, lr_updater.py).
"""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal, get_args

from muntin.engine.ranges import above_zero, at_least, listed, not_negative, require
from muntin.errors import UserError

Kind = Literal["cosine", "linear", "linear_to_min", "step", "multistep", "poly"]
Clock = Literal["late_update", "update", "inclusive_update", "epoch", "late_epoch"]
CLOCKS_OF_EPOCHS = ("epoch", "late_epoch")
KINDS_OF_EPOCHS = ("step", "multistep")

LINEAR_END = 0.01  # of the peak; fixed in the official code


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long a run is, and how its learning rate moves: a linear warm-up, then one of six curves."""

    kind: Kind = "cosine"
    """cosine: down to min_lr. linear: down to 1 % of the peak. linear_to_min: down to min_lr (ViT).
    step: times decay_rate every decay_epochs. multistep: times decay_rate at each of `milestones`.
    poly: down to min_lr, as (1 - t / length) ** power from update 0 (UPerNet); the warm-up multiplies the curve."""
    clock: Clock = "late_update"
    """When the rate moves. update: after each update (ViT). late_update: the same, one update late: the first two share
    a rate (Swin). inclusive_update: as update, but the last update of the warm-up has the peak already, and
    optim.layer_decay scales the whole curve (ConvNeXt). epoch: after each epoch (CvT). late_epoch: the same, one epoch
    late (DeiT)."""
    epochs: int = 300
    """Passes over the training data. 0: `updates` says how long the run is."""
    updates: int = 0
    """Updates of the whole run, in the place of `epochs`, which is then 0; the last epoch may be cut short."""
    warmup_epochs: float = 20.0
    """Epochs of linear warm-up, counted within `epochs`; parts of an epoch count where the clock moves
    with the updates, and are left out where it moves with the epochs."""
    warmup_updates: int = 0
    """Updates of linear warm-up, in the place of `warmup_epochs`, which is then 0."""
    warmup_lr: float = 5e-7
    """Rate the warm-up starts from, for optim.lr_batch samples like lr; the same for every layer, but poly gives each
    its share of it."""
    min_lr: float = 5e-6
    """Rate that cosine, linear_to_min and poly end at, for optim.lr_batch samples like lr; the same for every layer."""
    warmup_prefix: bool = True
    """The cosine starts after the warm-up; otherwise (DeiT, CvT) it runs from update 0 and the warm-up hides its
    beginning."""
    power: float = 1.0
    """poly: 1 is a straight line down; 2 falls faster at first."""
    decay_epochs: float = 30.0
    """step: epochs between two decays, counted from the start of training."""
    decay_rate: float = 0.1
    """step and multistep: factor of one decay."""
    milestones: tuple[int, ...] = ()
    """multistep: the epochs of the decays, rising, none within the warm-up."""

    def __post_init__(self) -> None:
        warmup_updates_fit = 0 <= self.warmup_updates <= (self.updates or math.inf)
        warmup_epochs_fit = 0 <= self.warmup_epochs <= (self.epochs or math.inf)
        require(
            self,
            {
                "kind": (self.kind in get_args(Kind), listed(get_args(Kind))),
                "clock": (self.clock in get_args(Clock), listed(get_args(Clock))),
                "updates": at_least(0, self.updates),
                "epochs": at_least(0 if self.updates else 1, self.epochs),
                "warmup_updates": (warmup_updates_fit, f"at least 0 and at most updates, {self.updates}"),
                "warmup_epochs": (warmup_epochs_fit, f"at least 0 and at most epochs, {self.epochs}"),
                "warmup_lr": not_negative(self.warmup_lr),
                "min_lr": not_negative(self.min_lr),
                "power": above_zero(self.power),
                "decay_epochs": above_zero(self.decay_epochs),
                "decay_rate": (0 < self.decay_rate <= 1, "above 0 and at most 1"),
            },
        )
        self._check_one_unit("epochs", "updates")
        self._check_one_unit("warmup_epochs", "warmup_updates")
        if self.updates and self.kind in KINDS_OF_EPOCHS:
            raise UserError(f"updates is {self.updates}, and '{self.kind}' decays the rate at epochs; give epochs")
        if self.kind == "multistep" and (
            not self.milestones
            or list(self.milestones) != sorted(self.milestones)
            or self.milestones[0] < self.warmup_epochs
        ):
            raise UserError(
                f"milestones is {self.milestones}; the multistep schedule needs rising epochs, "
                f"none before the end of the warm-up ({self.warmup_epochs:g})"
            )

    def _check_one_unit(self, in_epochs: str, in_updates: str) -> None:
        """Raise UserError where a length is given in epochs and in updates, or in updates to a clock of epochs."""
        epochs, updates = getattr(self, in_epochs), getattr(self, in_updates)
        if epochs and updates:
            raise UserError(
                f"{in_epochs} is {epochs:g} and {in_updates} is {updates}; give one of them, the other as 0"
            )
        if updates and self.clock in CLOCKS_OF_EPOCHS:
            raise UserError(f"{in_updates} is {updates}, and the clock '{self.clock}' counts epochs; give {in_epochs}")

    def length(self, updates_per_epoch: int) -> int:
        """Updates of the whole run. Raises UserError where the warm-up is longer."""
        total = self.updates or self.epochs * updates_per_epoch
        warmup = self.warmup_updates or int(self.warmup_epochs * updates_per_epoch)
        if warmup > total:
            raise UserError(
                f"the warm-up takes {warmup} updates and the whole run {total} ({updates_per_epoch} an epoch); "
                "set warmup_updates or warmup_epochs to less"
            )
        return total

    def scaled(self, factor: float) -> Schedule:
        """The same curve with its absolute rates, warmup_lr and min_lr, times `factor` (`Optim.scale`)."""
        return dataclasses.replace(self, warmup_lr=self.warmup_lr * factor, min_lr=self.min_lr * factor)

    def lr(self, update: int, peak: float, updates_per_epoch: int, scale: float = 1.0) -> float:
        """The learning rate of update `update` (from 0) for a parameter group that learns at `scale` of the peak rate.

        ConvNeXt's clock scales the whole curve, as its code does (engine.py). All others scale only the peak: warmup_lr
        (except poly's) and min_lr are absolute, and a group whose peak is below min_lr rises to it, as with timm's
        scheduler in the official code of SimMIM.
        """
        if self.clock == "inclusive_update":
            return scale * self._lr(update, peak, peak, updates_per_epoch)
        return self._lr(update, scale * peak, peak, updates_per_epoch)

    def _lr(self, update: int, peak: float, full_peak: float, updates_per_epoch: int) -> float:
        """The rate for a peak; full_peak: that of a group whose scale is 1."""
        t, an_epoch = self._time(update, updates_per_epoch)
        total = self.updates or self.epochs * an_epoch
        warmup = self.warmup_updates or int(self.warmup_epochs * an_epoch)
        ticks = max(warmup - 1, 1) if self.clock == "inclusive_update" else warmup
        if t < warmup and self.kind != "poly":
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
            case "poly":
                warmth = 1 - (1 - t / ticks) * (1 - self.warmup_lr / (full_peak or 1)) if t < warmup else 1
                return warmth * ((peak - self.min_lr) * (1 - min(t / total, 1)) ** self.power + self.min_lr)

    def _time(self, update: int, updates_per_epoch: int) -> tuple[int, int]:
        """The time on the clock during an update, and how far it goes in an epoch.

        Swin's code sets the rate after each update, and DeiT's after each epoch with that epoch's number, both for what
        comes next. So the first two updates (epochs) have the first rate and all later ones lag by one; this is kept.
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
