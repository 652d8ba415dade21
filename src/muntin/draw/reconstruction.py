"""Draws a picture, its hidden squares, and the model's reconstruction side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from muntin.answers import Reconstruction
from muntin.ops.local_norm import painted

from .pixels import from_tensor

SHORTEST = 112  # pixels; smaller pictures are enlarged by a whole number
GAP, PAPER = 4, (24, 26, 30)  # between two pictures


def draw(picture: Image.Image, answer: Reconstruction, number: int, names: Sequence[str], inputs: Any) -> Image.Image:
    """Three pictures as the model got them: whole, with grey for the hidden parts, and with the reconstruction
    there.
    """
    image, mask = answer.image[number].float().cpu(), answer.pixel_mask[number].cpu().bool()
    pixels = painted(answer.predicted, answer.image.float(), answer.window)[number].cpu()
    grey = (0.5 - torch.tensor(inputs.mean)) / torch.tensor(inputs.std)
    shown = image, torch.where(mask, grey.view(-1, 1, 1), image), torch.where(mask, pixels, image)
    return _row([from_tensor(each, inputs.mean, inputs.std).convert("RGB") for each in shown])


def _row(pictures: list[Image.Image]) -> Image.Image:
    """Pictures of one size side by side."""
    width, height = pictures[0].size
    scale = max(1, -(-SHORTEST // min(width, height)))
    width, height = width * scale, height * scale
    row = Image.new("RGB", (len(pictures) * (width + GAP) - GAP, height), PAPER)
    for place, picture in enumerate(pictures):
        row.paste(picture.resize((width, height), Image.Resampling.NEAREST), (place * (width + GAP), 0))
    return row
