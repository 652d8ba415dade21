"""Draws a picture with the answer about it: one file for each kind of answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from . import classes, reconstruction

_KINDS: dict[str, Any] = {"classes": classes, "reconstruction": reconstruction}


def draw(picture: Image.Image, answer: Any, number: int, names: Sequence[str], inputs: Any) -> Image.Image:
    """A copy of the picture with what `answer` says of sample `number` of its batch.

    names: of the classes. inputs: how the model was fed, with the mean and std of each channel.
    """
    return _KINDS[answer.kind].draw(picture, answer, number, names, inputs)
