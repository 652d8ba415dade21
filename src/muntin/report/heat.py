"""Small heat maps in svg: a grid of values as squares whose opacity is the value.

Colour comes from the style sheet and strength from opacity, so that "nothing" is always the page's own colour.
Squares of equal strength share one path: a map of 47 x 47 values costs a few kilobytes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .markup import Html, element

LEVELS = 12  # steps of opacity; more cannot be told apart by eye


def diverging(values: Tensor, largest: float, title: str) -> Html:
    """(H, W) values around zero as an svg: above zero in the `more` colour, below in `less`; +-largest is full colour.

    The middle cell, offset zero of a position bias, is outlined.
    """
    rows, columns = values.shape
    steps = (values / max(largest, 1e-12) * LEVELS).round().clamp(-LEVELS, LEVELS).to(torch.int64)
    paths = []
    for step in steps.unique().tolist():
        if step:
            cells = (steps == step).nonzero().tolist()
            outline = "".join(f"M{column} {row}h1v1h-1z" for row, column in cells)
            kind = "more" if step > 0 else "less"
            paths.append(element("path", {"class": kind, "fill-opacity": abs(step) / LEVELS, "d": outline}))
    middle = {"class": "middle", "x": columns // 2, "y": rows // 2, "width": 1, "height": 1}
    return element(
        "svg",
        {"class": "heat", "viewBox": f"0 0 {columns} {rows}", "role": "img", "aria-label": title},
        element("title", None, title),
        *paths,
        element("rect", middle),
    )


def scale_bar(low: str, high: str) -> Html:
    """The key of `diverging`: a bar from the one colour through nothing to the other, its ends labelled."""
    return element(
        "span", {"class": "scale"}, element("span", None, low), element("i", None), element("span", None, high)
    )
