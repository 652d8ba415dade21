"""Which changes pictures go through in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from muntin.errors import UserError, unknown

CROPS = ("none", "resized", "padded", "auto", "simple")
MIX_MODES = ("batch", "pair", "element")


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Training-time changes, in the order in which they are applied; `Augment()` changes nothing.

    The published ImageNet recipe of Swin, DeiT and ConvNeXt: crop="auto", flip=0.5, randaugment=9, erasing=0.25,
    mixup=0.8, cutmix=1.0, smoothing=0.1. SimMIM's: crop="resized", crop_scale=(0.67, 1), flip=0.5. DeiT III's:
    crop="resized", flip=0.5, three_augment=True, color_jitter=0.3, mixup=0.8, cutmix=1.0, repeats=3.
    """

    repeats: int = 1
    """Repeated augmentation: each picture comes this often in a row, changed anew each time, and an epoch, cut to whole
    blocks of 256, is no longer than before: it sees a part of the pictures. 1: off."""
    crop: Literal["none", "resized", "padded", "auto", "simple"] = "none"
    """none: as in evaluation; resized: a random part; padded: shifted a bit; auto: padded up to 32 px, else resized;
    simple: resized until it covers the input, mirrored at the border, then a random part of the input's size."""
    crop_scale: tuple[float, float] = (0.08, 1.0)
    """Area of a resized crop, least and most, as a share of the picture."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Width / height of a resized crop, least and most, relative to the input's own."""
    pad: int = 4
    """Pixels added on each side before a padded (black) or simple (mirrored) crop."""
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
    three_augment: bool = False
    """DeiT III's 3-Augment: greyscale, solarisation or Gaussian blur, one of them for each picture."""
    color_jitter: float = 0.0
    """Brightness, contrast and saturation change by up to this share, in random order. Beside RandAugment it has no
    effect, as in the published recipes (timm); 0: off."""
    erasing: float = 0.0
    """Probability of random erasing: a rectangle of noise after normalisation; 0: off."""
    mixup: float = 0.0
    """Mixup's alpha; 0: off."""
    cutmix: float = 0.0
    """CutMix's alpha; 0: off."""
    cutmix_sides: tuple[float, float] = (0.0, 0.0)
    """Sides of CutMix's box, least and most, as shares of the picture's, each drawn alone, instead of from its alpha.
    (0, 0): off."""
    mix_mode: Literal["batch", "pair", "element"] = "batch"
    """How much shares one draw of all this: a batch, a pair of partners, or each picture (element) has its own."""
    mix_probability: float = 1.0
    """Probability that a batch (pair, picture) is mixed at all."""
    mix_switch: float = 0.5
    """Probability of CutMix rather than Mixup for what is mixed when both are on."""
    smoothing: float = 0.0
    """Label smoothing: share of the target spread evenly over all classes; 0: off."""

    def __post_init__(self) -> None:
        """Raises `UserError` with all values that are out of range."""
        wrong = []
        for name, names in (("crop", CROPS), ("mix_mode", MIX_MODES)):
            if getattr(self, name) not in names:
                wrong.append(str(unknown(name, getattr(self, name), names)))
        shares = ("flip", "erasing", "mix_probability", "mix_switch", "translate", "smoothing", "color_jitter")
        ranges = dict.fromkeys(shares, (0.0, 1.0)) | {"randaugment": (0.0, 10.0)}
        ranges |= {"rotate": (0.0, 180.0), "shear": (0.0, 80.0), "pad": (0, 1024)}
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                wrong.append(f"{name} is {getattr(self, name)}; it must be {low:g} to {high:g}")
        if not self.repeats >= 1:
            wrong.append(f"repeats is {self.repeats}; it must be at least 1 (1: off)")
        for name in ("randaugment_std", "randaugment_ops", "mixup", "cutmix"):
            if not getattr(self, name) >= 0:
                wrong.append(f"{name} is {getattr(self, name)}; it must not be negative")
        for name, most in (("crop_scale", 1.0), ("crop_ratio", 100.0), ("zoom", 100.0)):
            low, high = getattr(self, name)
            if not 0 < low <= high <= most:
                wrong.append(f"{name} is ({low:g}, {high:g}); it must be least and most, above 0 to {most:g}")
        if any(self.cutmix_sides) and not 0 <= self.cutmix_sides[0] <= self.cutmix_sides[1] <= 1:
            wrong.append(f"cutmix_sides is {self.cutmix_sides}; it must be least and most, 0 to 1")
        elif any(self.cutmix_sides) and not self.cutmix:
            wrong.append("cutmix_sides needs CutMix: set cutmix above 0")
        if self.three_augment and self.randaugment:
            wrong.append("three_augment takes the place of RandAugment: set one of them only")
        if wrong:
            raise UserError(f"augmentation: {'; '.join(wrong)}")
