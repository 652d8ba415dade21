"""Attention drawn back over the picture: one query, its window, what each head looks at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from muntin.errors import UserError
from muntin.report import pictures
from muntin.report.inside_the_model import AttentionMap
from muntin.report.markup import Html, element
from muntin.report.page import Page

HEADS = 8  # heads drawn of one block
GLOW = (255, 122, 61)  # colour of attention, as in the key of the caption
SHADE = 120  # of 255: how dark the cells outside the window become


def attention(
    page: Page,
    picture: Image.Image,
    maps: Sequence[AttentionMap],
    *,
    title: str = "Attention",
    text: str = "A window sees only itself; the next block shifts the windows by half, so that neighbours meet.",
) -> None:
    """Add one line a block: the window lattice, then one overlay a head, from `inside_the_model.attention`.

    picture: what the model saw, the same pixels as the normalised image (`draw.pixels.from_tensor`).
    """
    if not maps:
        raise UserError("no attention to show: the model has no block with windows")
    if (axes := len(maps[0].cell)) != 2:
        raise UserError(f"attention is drawn over pictures; this model's grid has {axes} axes")
    page.section(title, text)
    page.figure(
        element("div", None, *[_block(picture, one) for one in maps]),
        "The blue square is the token that asks (the query), the orange frame its window, the fine lines the borders "
        "of all windows; cells the query cannot see are darkened. The stronger the orange in a cell, the more "
        "attention the query pays to it, relative to the cell it pays most to. On a fine grid the heads are shown "
        "close up. Compare the plain block with the shifted one: the same query gets other neighbours. Where the "
        "shift brings together cells from opposite edges of the picture, a mask keeps them apart, so that windows at "
        "the rim are smaller.",
    )


def _block(picture: Image.Image, one: AttentionMap) -> Html:
    kind = f"windows shifted by {_times(one.shift)}" if any(one.shift) else "plain windows"
    heads = one.heads[:HEADS]
    panels = [_panel(picture, one, None, "windows")]
    panels += [_panel(picture, one, head, f"head {number}") for number, head in enumerate(heads, 1)]
    if len(one.heads) > 1:
        panels.append(_panel(picture, one, one.heads.mean(0), f"mean of {len(one.heads)} heads"))
    detail = f" {kind}, {_times(one.window)} tokens each"
    heading = element("h4", None, one.name, element("small", None, detail))
    return element("div", {"class": "block"}, heading, element("div", {"class": "multiples large"}, *panels))


def _panel(picture: Image.Image, one: AttentionMap, head: Tensor | None, label: str) -> Html:
    rows, columns = one.heads.shape[1:]
    cover = {"x": 0, "y": 0, "width": columns, "height": rows, "preserveAspectRatio": "none"}
    sharp = "image-rendering:pixelated"
    wide, high = picture.width / one.stride[1], picture.height / one.stride[0]  # the picture's size in cells
    base = {
        **cover,
        "width": wide,
        "height": high,
        "href": pictures.data_uri(picture),
        "style": sharp if max(picture.size) < pictures.SHARP_BELOW else None,
    }
    parts = [element("image", base)]
    if head is None:
        lattice = _lattice(one, rows, columns)
        parts += [element("path", {"class": kind, "d": lattice}) for kind in ("lattice under", "lattice")]
    else:
        parts.append(element("image", {**cover, "href": pictures.data_uri(_overlay(head, one)), "style": sharp}))
    (top, bottom), (left, right) = one.seen
    frame = {"class": "window", "x": left, "y": top, "width": right - left, "height": bottom - top}
    row, column = one.cell
    query = {"class": "query", "x": column, "y": row, "width": 1, "height": 1}
    view = f"0 0 {columns} {rows}" if head is None else _close_up(one)
    box = {"viewBox": view, "role": "img", "aria-label": f"{one.name}, {label}"}
    return element("div", None, element("svg", box, *parts, element("rect", frame), element("rect", query)), label)


def _overlay(head: Tensor, one: AttentionMap) -> Image.Image:
    """(H, W) attention as a transparent picture, one pixel a cell: glow inside the window, shade outside."""
    (top, bottom), (left, right) = one.seen
    glow = (head / head.max().clamp(min=1e-12)).clamp(0, 1) * 220
    pixels = torch.zeros(*head.shape, 4)
    pixels[..., 3] = SHADE
    inside = pixels[top:bottom, left:right]
    inside[..., :3] = torch.tensor(GLOW, dtype=torch.float32)
    inside[..., 3] = glow[top:bottom, left:right]
    return Image.fromarray(np.ascontiguousarray(pixels.round().to(torch.uint8).numpy()))


def _close_up(one: AttentionMap) -> str:
    """The part of a large grid that holds every window the query may be in; it is the same for plain and shifted."""
    size = one.heads.shape[1:]
    if any(side < 4 * window for side, window in zip(size, one.window)):
        return f"0 0 {size[1]} {size[0]}"
    sides = [2 * window + 1 for window in one.window]
    row, column = (min(max(at - side // 2, 0), end - side) for at, side, end in zip(one.cell, sides, size))
    return f"{column} {row} {sides[1]} {sides[0]}"


def _lattice(one: AttentionMap, rows: int, columns: int) -> str:
    """All borders between windows, as one path."""
    level = "".join(f"M0 {y}H{columns}" for y in range(one.shift[0] or one.window[0], rows, one.window[0]))
    upright = "".join(f"M{x} 0V{rows}" for x in range(one.shift[1] or one.window[1], columns, one.window[1]))
    return level + upright


def _times(size: Sequence[int]) -> str:
    return " × ".join(map(str, size))
