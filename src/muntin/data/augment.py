"""Which changes pictures go through in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from muntin.errors import UserError, unknown

CROPS = ("none", "resized", "padded", "auto")


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Training-time changes, in the order in which they are applied; `Augment()` changes nothing.

    The published ImageNet recipe of Swin, DeiT and ConvNeXt: crop="auto", flip=0.5, randaugment=9, erasing=0.25,
    mixup=0.8, cutmix=1.0, smoothing=0.1. SimMIM's: crop="resized", crop_scale=(0.67, 1), flip=0.5.
    """

    crop: Literal["none", "resized", "padded", "auto"] = "none"
    """none: as in evaluation; resized: a random part; padded: shifted a bit; auto: padded up to 32 px, else resized."""
    crop_scale: tuple[float, float] = (0.08, 1.0)
    """Area of a resized crop, least and most, as a share of the picture."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Width / height of a resized crop, least and most, relative to the input's own."""
    pad: int = 4
    """Pixels added on each side before a padded crop."""
    flip: float = 0.0
    """Probability of a left-right flip; keep 0 where left and right differ in meaning (digits, text)."""
    rotate: float = 0.0
    """Degrees of random rotation, to either side; 0: off."""
    translate: float = 0.0
    """Random shift along each axis, to either side, as a share of the side; 0: off."""
    zoom: tuple[float, float] = (1.0, 1.0)
    """Random enlargement, least and most; (1, 1): off."""
    shear: float = 0.0
    """Degrees of random horizontal shear, to either side; 0: off."""
    randaugment: float = 0.0
    """RandAugment's magnitude, up to 10; 0: off."""
    randaugment_std: float = 0.5
    """Standard deviation of RandAugment's magnitude, drawn anew for each operation."""
    randaugment_ops: int = 2
    """Operations RandAugment draws a picture; each is then applied with probability 0.5."""
    erasing: float = 0.0
    """Probability of random erasing: a rectangle of noise after normalisation; 0: off."""
    mixup: float = 0.0
    """Mixup's alpha; 0: off."""
    cutmix: float = 0.0
    """CutMix's alpha; 0: off."""
    mix_probability: float = 1.0
    """Probability that a batch is mixed at all."""
    mix_switch: float = 0.5
    """Probability of CutMix rather than Mixup for a mixed batch when both are on."""
    smoothing: float = 0.0
    """Label smoothing: share of the target spread evenly over all classes; 0: off."""

    def __post_init__(self) -> None:
        """Raises `UserError` with all values that are out of range."""
        wrong = []
        if self.crop not in CROPS:
            wrong.append(str(unknown("crop", self.crop, CROPS)))
        shares = ("flip", "erasing", "mix_probability", "mix_switch", "translate", "smoothing")
        ranges = dict.fromkeys(shares, (0.0, 1.0)) | {"randaugment": (0.0, 10.0)}
        ranges |= {"rotate": (0.0, 180.0), "shear": (0.0, 80.0)}
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                wrong.append(f"{name} is {getattr(self, name)}; it must be {low:g} to {high:g}")
        for name in ("pad", "randaugment_std", "randaugment_ops", "mixup", "cutmix"):
            if not getattr(self, name) >= 0:
                wrong.append(f"{name} is {getattr(self, name)}; it must not be negative")
        for name, most in (("crop_scale", 1.0), ("crop_ratio", 100.0), ("zoom", 100.0)):
            low, high = getattr(self, name)
            if not 0 < low <= high <= most:
                wrong.append(f"{name} is ({low:g}, {high:g}); it must be least and most, above 0 to {most:g}")
        if wrong:
            raise UserError(f"augmentation: {'; '.join(wrong)}")
