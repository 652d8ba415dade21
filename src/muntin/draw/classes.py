"""The likeliest class drawn below its picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from muntin.answers import Classes

SHORTEST = 224  # pixels; smaller pictures are enlarged, or the label would not fit
INK, PAPER, BAR = (245, 245, 245), (24, 26, 30), (64, 132, 214)


def draw(picture: Image.Image, answer: Classes, number: int, names: Sequence[str], inputs: Any) -> Image.Image:
    """A copy of the picture with the likeliest class below it."""
    score, best = answer.logits[number].softmax(0).max(0)
    return with_label(picture, names[int(best)], float(score))


def with_label(image: Image.Image, label: str, score: float) -> Image.Image:
    """A copy of the picture with a strip below it: label, score in [0, 1], and a bar as long as the score."""
    image = image.convert("RGB")
    if min(image.size) < SHORTEST:
        scale = -(-SHORTEST // min(image.size))  # a whole number and nearest pixels: small pictures keep their look
        image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    size = max(14, image.width // 22)
    page = Image.new("RGB", (image.width, image.height + 2 * size), PAPER)
    page.paste(image)
    canvas = ImageDraw.Draw(page)
    canvas.rectangle((0, image.height, round(score * image.width), page.height), fill=BAR)
    place = (size // 2, image.height + size)
    canvas.text(place, f"{label}  {score:.1%}", fill=INK, font=ImageFont.load_default(size), anchor="lm")
    return page
