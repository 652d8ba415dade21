"""The page: a header with tiles, numbered sections, numbered figures, a table of contents; one file, no requests."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import numbers, tables
from .markup import Html, element, join
from .style import STYLE

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # the browser itself refuses any request or script
)


@dataclass(frozen=True)
class Tile:
    """A key number at the head of the page. A float is a fraction and shown in percent; a string is shown as it is."""

    label: str
    value: str | float
    note: str = ""


@dataclass
class _Section:
    title: str
    anchor: str
    parts: list[Html] = field(default_factory=list)


class Page:
    """A report, written from top to bottom: additions go into the latest section (or above all sections).

    All text is escaped; only markup made by this room (`Html`) counts as markup.
    """

    def __init__(self, title: str, subtitle: str = ""):
        self.title, self.subtitle = title, subtitle
        self._tiles: list[Tile] = []
        self._lead: list[Html] = []
        self._sections: list[_Section] = []
        self._figures = 0

    def tiles(self, tiles: Iterable[Tile]) -> None:
        """Add key numbers to the header; the first one is the headline."""
        self._tiles += tiles

    def section(self, title: str, text: str = "") -> None:
        """Begin a section; `text` is its lead paragraph."""
        number = len(self._sections) + 1
        self._sections.append(_Section(title, f"s{number}"))
        self.text(text)

    def text(self, text: str) -> None:
        """Add plain text; a blank line begins the next paragraph."""
        for paragraph in text.split("\n\n"):
            if paragraph.strip():
                self.add(element("p", None, paragraph.strip()))

    def figure(self, body: Html, caption: str) -> None:
        """Add a numbered figure; the caption explains what it shows."""
        self._figures += 1
        number = element("b", None, f"Figure {self._figures}.")
        self.add(element("figure", None, body, element("figcaption", None, number, " ", caption)))

    def table(self, header: Sequence[object], rows: Iterable[Sequence[object]], caption: str = "") -> None:
        """Add a table; first column text, other columns numbers, written as given."""
        note = element("figcaption", None, caption) if caption else ""
        self.add(element("figure", {"class": "plain"}, tables.table(header, rows), note))

    def add(self, part: Html) -> None:
        """Add markup made by this room's functions."""
        (self._sections[-1].parts if self._sections else self._lead).append(part)

    def html(self) -> str:
        """The whole page as text."""
        head = element(
            "head",
            None,
            element("meta", {"charset": "utf-8"}),
            element("meta", {"http-equiv": "Content-Security-Policy", "content": POLICY}),
            element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
            element("meta", {"name": "color-scheme", "content": "light dark"}),
            element("title", None, self.title),
            element("style", None, Html(STYLE)),
        )
        sections = [self._section(number, one) for number, one in enumerate(self._sections, 1)]
        main = element("main", None, self._header(), *self._lead, *sections, _footer())
        body = element("body", None, self._contents(), main)
        return "<!doctype html>\n" + element("html", {"lang": "en"}, head, body) + "\n"

    def write(self, path: str | Path) -> Path:
        """Write the page to `path`, first under a temporary name, so that nobody ever reads half a page."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".part")
        temporary.write_text(self.html(), encoding="utf-8", errors="backslashreplace")  # names may be any bytes
        os.replace(temporary, path)
        return path

    def _header(self) -> Html:
        tiles = [
            element(
                "div",
                {"class": "tile"},
                element("strong", None, numbers.percent(tile.value) if isinstance(tile.value, float) else tile.value),
                element("span", None, tile.label),
                element("small", None, tile.note) if tile.note else "",
            )
            for tile in self._tiles
        ]
        return element(
            "header",
            None,
            element("div", {"class": "mark"}, _mark(), "muntin report"),
            element("h1", None, self.title),
            element("p", {"class": "subtitle"}, self.subtitle) if self.subtitle else "",
            element("div", {"class": "tiles"}, *tiles) if tiles else "",
        )

    def _contents(self) -> Html:
        links = [element("li", None, element("a", {"href": f"#{one.anchor}"}, one.title)) for one in self._sections]
        return element("nav", {"aria-label": "Contents"}, element("ol", None, join(links))) if links else Html("")

    def _section(self, number: int, one: _Section) -> Html:
        heading = element("h2", None, element("span", None, f"{number}"), one.title)
        return element("section", {"id": one.anchor}, heading, *one.parts)


def _mark() -> Html:
    """The sign: a window of four panes, and the same panes shifted by half a window."""
    panes = element("path", {"d": "M1 1h18v18H1zM10 1v18M1 10h18"})
    shifted = element("path", {"class": "shifted", "d": "M5.5 5.5h9v9h-9z"})
    return element("svg", {"viewBox": "0 0 20 20", "aria-hidden": "true"}, panes, shifted)


def _footer() -> Html:
    return element("footer", None, "Written by muntin. This page is one file: it loads nothing and runs no script.")
