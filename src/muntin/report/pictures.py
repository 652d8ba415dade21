"""Pictures inside the page: PIL to data URIs, grids of captioned pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable

from PIL import Image

from .markup import Html, element, join

SHARP_BELOW = 128  # pixels; smaller pictures are enlarged in sharp squares, larger ones smoothly
LONGEST = 256  # pixels; larger pictures are made smaller before they enter the page


def data_uri(picture: Image.Image) -> str:
    """The picture as a data URI: PNG when small or transparent, else JPEG; at most LONGEST pixels a side."""
    if max(picture.size) > LONGEST and picture.mode != "RGBA":
        picture = picture.copy()
        picture.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    keep = picture.mode == "RGBA" or max(picture.size) < SHARP_BELOW
    if picture.mode not in ("L", "RGB", "RGBA"):
        picture = picture.convert("RGB")
    buffer = io.BytesIO()
    if keep:
        picture.save(buffer, "PNG", optimize=True)
    else:
        picture.save(buffer, "JPEG", quality=84)
    kind = "png" if keep else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def img(picture: Image.Image, alt: str) -> Html:
    """The picture as an `<img>`; a small one keeps its sharp pixels when enlarged."""
    kind = "pixels" if max(picture.size) < SHARP_BELOW else None
    return element("img", {"src": data_uri(picture), "alt": alt, "class": kind, "loading": "lazy"})


def card(picture: Html, *lines: object, kind: str = "") -> Html:
    """A picture with lines of text under it; `kind` is an extra class ("right", "wrong")."""
    texts = [element("span", None, line) for line in lines]
    return element("div", {"class": f"card {kind}".strip()}, picture, *texts)


def grid(cards: Iterable[Html], smallest: int = 96) -> Html:
    """Cards in as many columns as fit, each at least `smallest` CSS pixels wide."""
    return element("div", {"class": "pictures", "style": f"--smallest:{smallest}px"}, join(cards))
