"""The relative position bias of every head, as a picture of the neighbourhood it prefers."""

from __future__ import annotations

from collections.abc import Sequence

from muntin.errors import UserError
from muntin.report import heat, numbers
from muntin.report.inside_the_model import BiasMap
from muntin.report.markup import Html, element
from muntin.report.page import Page

HEADS = 16  # heads drawn of one block


def position_bias(
    page: Page,
    maps: Sequence[BiasMap],
    *,
    title: str = "Position bias",
    text: str = "What each attention head adds to its logits for where a neighbour is, whatever the picture shows.",
) -> None:
    """Add small multiples: one line a block, one map a head, from `inside_the_model.position_bias` (of one or
    several models).
    """
    if not maps:
        raise UserError("no position bias to show: the model has no block with windows")
    if (axes := maps[0].heads.ndim - 1) != 2:
        raise UserError(f"position bias is drawn as a picture; this model's windows have {axes} axes")
    page.section(title, text)
    page.figure(
        element("div", None, *[_block(one) for one in maps]),
        "Each square is one head. The outlined middle is the token that asks; every other cell is a neighbour at that "
        "offset, up to one window away in each direction. Warm: the head attends there more by default, cool: less. "
        "A head's mean is taken off, as the softmax cannot see it. A warm centre looks at itself and its surroundings, "
        "a stripe reads along a row or column, a lopsided map looks one way. In Swin V1 this is a free table; in Swin "
        "V2 a small MLP computes it from log-spaced offsets, which makes the maps smooth and lets them be asked for a "
        "larger window.",
    )


def _block(one: BiasMap) -> Html:
    values = one.heads - one.heads.mean(dim=(1, 2), keepdim=True)
    largest = float(values.abs().max())
    shown = values[:HEADS]
    more = f", the first {HEADS} of {len(values)}" if len(values) > HEADS else ""
    heads = [
        element("div", None, heat.diverging(head, largest, f"{one.name}, head {number}"), f"head {number}")
        for number, head in enumerate(shown, 1)
    ]
    key = heat.scale_bar(f"−{numbers.short(largest)}", f"+{numbers.short(largest)}")
    heading = element("h4", None, key, one.name, element("small", None, f" {len(values)} heads{more}"))
    return element("div", {"class": "block"}, heading, element("div", {"class": "multiples"}, *heads))
