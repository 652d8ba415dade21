"""A page with a few pictures of each class, to see what a model would get."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from muntin.data.checking.layout import Entry, survey
from muntin.data.decoding.picture import as_mode
from muntin.errors import UserError
from muntin.report import Page
from muntin.report.markup import Html, element
from muntin.report.pictures import card, grid, img

EACH = 8  # pictures of a class in a split
SECTIONS = 500  # a class in a split each; a page of more is too large for a browser
SIDE = 128  # pixels; larger pictures are made smaller


def contact_sheet(place: str | Path) -> Page:
    """Draw `EACH` pictures of every class in every split, evenly spread over the list; a picture that cannot be read
    says why.
    """
    layout = survey(place)
    members: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in layout.entries:
        members[entry.label, entry.split].append(entry)
    shown = f"; the first {SECTIONS:,} of {len(members):,} classes in a split" if len(members) > SECTIONS else ""
    page = Page(f"Pictures of {place}", f"{layout.kind}; {len(layout.entries):,} pictures{shown}")
    for (label, split), entries in sorted(members.items())[:SECTIONS]:
        page.section(" · ".join(filter(None, (label or "pictures", split))), f"{len(entries):,} pictures")
        chosen = [entries[i * len(entries) // EACH] for i in range(EACH)] if len(entries) > EACH else entries
        page.add(grid(map(_card, chosen)))
    return page


def _card(entry: Entry) -> Html:
    try:
        picture = as_mode(entry.open(), "RGB")
    except UserError as error:
        return card(element("p", None, "cannot be read"), str(error), kind="wrong")
    size = f"{picture.width} x {picture.height}"
    picture.thumbnail((SIDE, SIDE))
    return card(img(picture, entry.name), Path(entry.name).name, size)
