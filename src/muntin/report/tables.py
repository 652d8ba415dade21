"""Tables and key-value lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .markup import Html, element


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> Html:
    """A table whose first column is text (left) and whose other columns are numbers (right, aligned digits)."""
    head = element("tr", None, *[element("th", {"scope": "col"}, cell) for cell in header])
    body = [element("tr", None, *[element("td", None, cell) for cell in row]) for row in rows]
    return element(
        "div",
        {"class": "scroll"},
        element("table", None, element("thead", None, head), element("tbody", None, *body)),
    )


def share_bar(share: float, text: str) -> Html:
    """A table cell: the text with a short bar that is `share` (0..1) full behind it."""
    fill = element("i", {"style": f"width:{100 * min(max(share, 0.0), 1.0):.0f}%"})
    return element("span", {"class": "share"}, element("span", {"class": "track"}, fill), element("b", None, text))


def pairs(values: Mapping[str, object]) -> Html:
    """Names and values in two columns; names and values are code."""
    cells = []
    for name, value in values.items():
        cells += [element("dt", None, name), element("dd", None, value)]
    return element("dl", None, *cells)


def details(summary: object, *children: object, is_open: bool = False) -> Html:
    """A part that opens on a click."""
    return element("details", {"open": "open"} if is_open else None, element("summary", None, summary), *children)
