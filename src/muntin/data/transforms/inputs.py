"""What a model is fed, and how a file becomes it: the settings that travel with the weights."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from typing import Any, Literal

from PIL import Image

from muntin.data.sources.files import read_picture
from muntin.data.sources.source import Sample
from muntin.data.transforms.pixels import InMode, Normalise
from muntin.data.transforms.resize import CentreCrop, Cover, Warp
from muntin.data.transforms.transform import InOrder, Transform
from muntin.errors import UserError, unknown

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
MODES = {1: "L", 3: "RGB"}
LONGEST_SIDE = 16384


@dataclasses.dataclass(frozen=True, kw_only=True)
class PictureInput:
    """Pictures of one size. Resizing is Pillow's, antialiased, as in the published numbers.

    `crop_ratio` r > 0: resize, keeping the aspect, until the picture just covers int(size / r), then crop the centre
    (for a square size: the shorter side becomes int(size / r)). r = 0: warp to the size, ignoring the aspect.
    """

    kind: Literal["picture"] = dataclasses.field(default="picture", init=False)
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
            raise UserError(f"inputs: {'; '.join(wrong)}")

    def to_dict(self) -> dict[str, Any]:
        """The kind and the fields as plain JSON values; `inputs_from` reads them back."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PictureInput:
        """Read what `to_dict` wrote. The file may say anything, so every field must be there, of the right type, and
        no other.
        """
        types = {"image_size": "integers", "crop_ratio": "a number", "interpolation": "a string"}
        types |= {"mean": "numbers", "std": "numbers"}
        fields: dict[str, Any] = {name: value for name, value in values.items() if name != "kind"}
        for name in fields:
            if name not in types:
                raise unknown("field of inputs", str(name), types)
        if missing := [name for name in types if name not in fields]:
            raise UserError(f"inputs lack {', '.join(missing)}")
        for name, expected in types.items():
            if not _is(fields[name], expected):
                raise UserError(f"inputs: {name} must be {expected}, not {fields[name]!r}")
        for name in ("image_size", "mean", "std"):
            fields[name] = tuple(fields[name])
        return cls(**fields)

    @property
    def mode(self) -> str:
        """Pillow's name of the pictures that the model knows: "L" (grey) or "RGB"."""
        return MODES[len(self.mean)]

    @property
    def resampling(self) -> Image.Resampling:
        return RESAMPLING[self.interpolation]

    def in_words(self) -> str:
        """What the model sees, for the first lines of a run."""
        height, width = self.image_size
        return f"pictures of {height} x {width} pixels"

    def read(self, path: str | os.PathLike[str]) -> Sample:
        """Decode a file, before any transform. Raises `UserError` for everything that `open_picture` refuses."""
        return read_picture(os.fspath(path))

    def eval_transform(self) -> Transform:
        """What evaluation and prediction do with a sample; nothing is random. "image" becomes float32 (C, H, W)."""
        return InOrder([InMode(self.mode), *self.fit(), Normalise(self.mean, self.std)])

    def fit(self) -> list[Transform]:
        """Resize and crop, or warp, to `image_size`."""
        if not self.crop_ratio:
            return [Warp(self.image_size, self.resampling)]
        height, width = (int(side / self.crop_ratio) for side in self.image_size)
        return [Cover((height, width), self.resampling), CentreCrop(self.image_size)]


Inputs = PictureInput
"""What a recipe and a model folder may hold as inputs: one class for each kind."""

KINDS = {each.kind: each for each in (PictureInput,)}


def inputs_from(values: Mapping[str, Any]) -> Inputs:
    """Read what the `to_dict` of an input wrote; older files without "kind" describe pictures.

    Raises `UserError` for anything else.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"inputs must be an object of named values, not {type(values).__name__}")
    kind = values.get("kind", PictureInput.kind)
    if not isinstance(kind, str) or kind not in KINDS:
        raise unknown("kind of input", str(kind), KINDS)
    return KINDS[kind].from_dict(values)


def _is(value: Any, kind: str) -> bool:
    if kind in ("integers", "numbers"):
        one = "an integer" if kind == "integers" else "a number"
        return isinstance(value, list | tuple) and len(value) <= 1024 and all(_is(part, one) for part in value)
    if kind == "a string":
        return isinstance(value, str)
    return isinstance(value, int if kind == "an integer" else int | float) and not isinstance(value, bool)
