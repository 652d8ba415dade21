"""From a picture to the tensor a model was trained on: what travels with the weights."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from muntin.data.decoding.orientation import upright
from muntin.data.decoding.picture import PIXEL_LIMIT, as_mode
from muntin.errors import UserError, unknown

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
MODES = {1: "L", 3: "RGB"}
LONGEST_SIDE = 16384


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocess:
    """Evaluation's preprocessing. Resizing is Pillow's, antialiased, as in the published numbers.

    `crop_ratio` r > 0: resize, keeping the aspect, until the picture just covers int(size / r), then crop the centre
    (for a square size: the shorter side becomes int(size / r)). r = 0: warp to the size, ignoring the aspect.
    """

    image_size: tuple[int, int] = (224, 224)
    """Height and width of the model's input, pixels."""
    crop_ratio: float = 0.875
    """Share of the resized picture that the centre crop keeps, above 0 to 1; 0: warp to the size instead."""
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    """How pictures are resized, in training as in evaluation."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    """Mean of each channel on the scale 0 to 1. Its length is the number of channels: 1 grey, 3 RGB."""
    std: tuple[float, ...] = IMAGENET_STD
    """Standard deviation of each channel on the scale 0 to 1."""

    def __post_init__(self) -> None:
        """Raises `UserError` with all values that are out of range."""
        size, wrong = self.image_size, []
        if len(size) != 2 or not all(1 <= side <= LONGEST_SIDE for side in size):
            wrong.append(f"image_size {size} must be height and width, 1 to {LONGEST_SIDE}")
        if not 0 <= self.crop_ratio <= 1 or 0 < self.crop_ratio < 0.05:
            wrong.append(f"crop_ratio {self.crop_ratio} must be 0 (warp) or 0.05 to 1")
        if self.interpolation not in RESAMPLING:
            wrong.append(str(unknown("interpolation", str(self.interpolation), RESAMPLING)))
        if len(self.mean) not in MODES or len(self.mean) != len(self.std):
            has = f"mean has {len(self.mean)} and std {len(self.std)} values"
            wrong.append(f"{has}; both need one a channel, and pictures have 1 channel (grey) or 3 (RGB)")
        if not all(map(math.isfinite, self.mean)) or not all(0 < s < math.inf for s in self.std):
            wrong.append(f"mean {self.mean} must be finite and std {self.std} positive")
        if wrong:
            raise UserError(f"preprocessing: {'; '.join(wrong)}")

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; `from_dict` reads them back."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocess:
        """Read what `to_dict` wrote, from a file that may say anything: every field, the right types, nothing else."""
        if not isinstance(values, Mapping):
            raise UserError(f"preprocessing must be an object of named values, not {type(values).__name__}")
        kinds = {"image_size": "integers", "crop_ratio": "a number", "interpolation": "a string"}
        kinds |= {"mean": "numbers", "std": "numbers"}
        for name in values:
            if name not in kinds:
                raise unknown("preprocessing field", str(name), kinds)
        if missing := [name for name in kinds if name not in values]:
            raise UserError(f"preprocessing lacks {', '.join(missing)}")
        for name, kind in kinds.items():
            if not _is(values[name], kind):
                raise UserError(f"preprocessing field {name} must be {kind}, not {values[name]!r}")
        fields: dict[str, Any] = dict(values)
        for name in ("image_size", "mean", "std"):
            fields[name] = tuple(fields[name])
        return cls(**fields)

    def transform(self) -> Callable[[Image.Image], Tensor]:
        """A picture of any size and mode -> float32 (C, H, W), normalised."""
        return self._apply

    def _apply(self, image: Image.Image) -> Tensor:
        return self.to_tensor(self.resize(self.convert(image)))

    def convert(self, image: Image.Image) -> Image.Image:
        """Upright and in the model's mode."""
        return as_mode(upright(image), MODES[len(self.mean)])

    def resize(self, image: Image.Image) -> Image.Image:
        """Resize and crop, or warp, to `image_size`."""
        height, width = self.image_size
        if not self.crop_ratio:
            resampling = RESAMPLING[self.interpolation]
            return image if image.size == (width, height) else image.resize((width, height), resampling)
        image = self.cover(image, int(height / self.crop_ratio), int(width / self.crop_ratio))
        left, top = round((image.width - width) / 2), round((image.height - height) / 2)
        return image if image.size == (width, height) else image.crop((left, top, left + width, top + height))

    def cover(self, image: Image.Image, height: int, width: int) -> Image.Image:
        """Resize, keeping the aspect, until the picture just covers height x width."""
        size = _cover(image.size, width, height)
        if size[0] * size[1] > PIXEL_LIMIT:
            raise UserError(f"a picture of {image.width} x {image.height} would become {size[0]} x {size[1]}: crop it")
        return image if image.size == size else image.resize(size, RESAMPLING[self.interpolation])

    def to_tensor(self, image: Image.Image) -> Tensor:
        """An 8-bit picture in the model's mode -> float32 (C, H, W): (x / 255 - mean) / std.

        Looked up among the 256 possible values, which costs a small picture less than three arithmetic calls.
        """
        pixels = np.asarray(image).reshape(image.height, image.width, len(self.mean))
        normalised = np.empty((len(self.mean), image.height, image.width), np.float32)
        for channel, values in enumerate(self._normalised_values):
            np.take(values, pixels[..., channel], out=normalised[channel], mode="clip")  # clip: `out` unbuffered
        return torch.from_numpy(normalised)

    @cached_property
    def _normalised_values(self) -> np.ndarray:
        """float32 (C, 256): the normalised value of every 8-bit value."""
        mean, std = torch.tensor([self.mean, self.std], dtype=torch.float32)[..., None]
        values = (torch.arange(256, dtype=torch.float32) / 255).sub(mean).div(std)
        return values.numpy()


def _cover(size: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """The smallest (width, height) with the aspect of `size` that covers width x height; rounded as by torchvision."""
    w, h = size
    if width * h >= height * w:
        return width, max(height, width * h // w)
    return max(width, height * w // h), height


def _is(value: Any, kind: str) -> bool:
    if kind in ("integers", "numbers"):
        one = "an integer" if kind == "integers" else "a number"
        return isinstance(value, list | tuple) and len(value) <= 1024 and all(_is(part, one) for part in value)
    if kind == "a string":
        return isinstance(value, str)
    return isinstance(value, int if kind == "an integer" else int | float) and not isinstance(value, bool)
