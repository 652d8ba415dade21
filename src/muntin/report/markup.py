"""Building html and svg so that foreign text cannot become markup.

`Html` marks text that is markup already; every other string that reaches `element` is escaped. Class names, file
names and recipe values come from a user's disk, so nothing in this room pastes strings into markup by hand.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping

VOID = {"img", "br", "meta", "col"}  # html elements that have no closing tag


class Html(str):
    """Text that is safe markup. Only `element` and `join` should make it."""

    __slots__ = ()


def safe(text: object) -> Html:
    """Any value as markup: `Html` unchanged, everything else as escaped text."""
    return text if isinstance(text, Html) else Html(html.escape(str(text)))


def join(parts: Iterable[object], between: str = "") -> Html:
    """Parts one after the other, each made safe."""
    return Html(between.join(safe(part) for part in parts))


def element(name: str, attributes: Mapping[str, object] | None = None, *children: object) -> Html:
    """`<name attributes>children</name>`. Attributes that are None are left out, floats are rounded to 2 decimals."""
    pairs = "".join(f' {key}="{_value(value)}"' for key, value in (attributes or {}).items() if value is not None)
    if name in VOID:
        return Html(f"<{name}{pairs}>")
    return Html(f"<{name}{pairs}>{join(children)}</{name}>")


def _value(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else html.escape(str(value))
