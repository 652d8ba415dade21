"""What a transform is: from a sample to a changed one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image

from muntin.data.sources.place import Affine
from muntin.data.sources.source import Sample


class Transform(Protocol):
    """Changes a sample. All randomness comes from `rng`; what is not random does not touch it.

    Transforms are small objects that can be pickled: worker processes receive them.
    """

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample: ...


@dataclass(frozen=True)
class InOrder:
    """One transform after the other."""

    steps: Sequence[Transform]

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        for step in self.steps:
            sample = step(sample, rng)
        return sample


def changed(sample: Sample, image: Any) -> Sample:
    """The sample with other pixels, each where it was before."""
    return sample._replace(inputs=sample.inputs | {"image": image})


def moved(sample: Sample, image: Any, step: Affine) -> Sample:
    """The sample with a picture whose pixels moved: pixel (x, y) of `image` was at `step` of (x, y) before.

    Every geometric transform ends here. So targets with coordinates, such as boxes and masks, move here with the
    picture; a label does not.
    """
    return changed(sample, image)._replace(place=sample.place.then(step))


def warped(sample: Sample, step: Affine, resampling: Image.Resampling, fill: int | tuple[int, ...] = 0) -> Sample:
    """As `moved`, with the picture that follows from `step`, of the same size; `fill` is the value outside of it."""
    image: Image.Image = sample.inputs["image"]
    return moved(sample, image.transform(image.size, Image.Transform.AFFINE, step, resampling, fillcolor=fill), step)
