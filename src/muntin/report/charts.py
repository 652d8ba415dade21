"""Line and bar charts as svg and html: numbers in, markup out.

Colours are classes c0..c5 of `style.py`, so a chart follows the page into dark mode and onto paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from . import axes, numbers
from .markup import Html, element, join

COLOURS = 6  # classes c0 .. c5 in style.py
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 10, 40  # margins around the plot, in svg units (= CSS pixels at full size)


@dataclass(frozen=True)
class Series:
    """One line: its name in the legend, its points (x, y), its colour class and whether it is dashed."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int = 0
    dashed: bool = False


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    x_names: Sequence[str] = (),
    percent: bool = False,
    log: bool = False,
    low: float | None = None,
    wide: bool = False,
) -> Html:
    """Lines over a common x axis, with grid, ticks and legend; hovering over a point shows its value.

    x_names: when given, x counts positions 0, 1, ... and these are their labels. percent: y values are fractions.
    log: logarithmic y axis (points <= 0 are left out). low: the lower end of a linear y axis. wide: the full column
    instead of half of it. Points that are not finite are left out and the line is broken there.
    """
    width, height = (860, 330) if wide else (424, 262)
    across, down = width - LEFT - RIGHT, height - TOP - BOTTOM
    write = numbers.percent if percent else numbers.short
    write_tick = numbers.whole_percent if percent else numbers.short
    all_y = [y for one in series for _, y in one.points]
    y_axis = axes.logarithmic(all_y) if log else axes.linear(all_y, low=low)
    x_axis = _named_axis(x_names, across) if x_names else _counting_axis([x for one in series for x, _ in one.points])

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + across * x_axis.place(x), TOP + down * (1 - y_axis.place(y))

    parts: list[Html] = []
    for tick in y_axis.ticks:
        y = TOP + down * (1 - y_axis.place(tick))
        parts.append(element("line", {"class": "grid", "x1": LEFT, "x2": width - RIGHT, "y1": y, "y2": y}))
        parts.append(element("text", {"class": "tick end", "x": LEFT - 8, "y": y + 4}, write_tick(tick)))
    for tick in x_axis.ticks:
        x = LEFT + across * x_axis.place(tick)
        name = x_names[int(tick)] if x_names else numbers.short(tick)
        parts.append(element("text", {"class": "tick mid", "x": x, "y": height - BOTTOM + 18}, name))
    bottom = TOP + down
    parts.append(element("line", {"class": "axis", "x1": LEFT, "x2": width - RIGHT, "y1": bottom, "y2": bottom}))
    parts.append(element("text", {"class": "label mid", "x": LEFT + across / 2, "y": height - 4}, x_label))
    for one in series:
        runs = _unbroken([place(x, y) for x, y in one.points])
        kind = f"line c{one.colour % COLOURS}" + (" dashed" if one.dashed else "")
        parts += [element("path", {"class": kind, "d": _path(run)}) for run in runs if len(run) > 1]
        parts += _dots(one, place, write, x_names)
    chart = element("svg", {"viewBox": f"0 0 {width} {height}", "role": "img", "aria-label": title}, *parts)
    heading = element("h4", None, title, element("small", None, " log scale") if log else "")
    legend = _legend(series, write) if len(series) > 1 else ""
    return element("div", {"class": "chart wide" if wide else "chart"}, heading, legend, chart)


def bars(values: Mapping[str, float], *, write: Callable[[float], str] = numbers.percent, full: float = 1.0) -> Html:
    """Horizontal bars, one a name, from 0 to `full`; the largest is in the accent colour."""
    best = max(values.values())
    rows = []
    for name, value in values.items():
        share = min(max(value / full, 0.0), 1.0) if math.isfinite(value) else 0.0
        fill = element("i", {"class": "fill best" if value == best else "fill", "style": f"width:{100 * share:.1f}%"})
        rows += [
            element("span", {"class": "name"}, name),
            element("span", {"class": "track"}, fill),
            element("b", {"class": "number"}, write(value)),
        ]
    return element("div", {"class": "bars"}, *rows)


def _counting_axis(values: Sequence[float]) -> axes.Axis:
    """A linear axis that begins and ends exactly at the data, ticks at whole numbers."""
    known = values or [0.0, 1.0]
    low, high = min(known), max(known)
    if low == high:
        return axes.Axis(lambda value: 0.5 + value - low, [low])
    axis = axes.linear(known, low=low, high=high)
    return axes.Axis(axis.place, [tick for tick in axis.ticks if tick == round(tick)])


def _named_axis(names: Sequence[str], across: float) -> axes.Axis:
    """Positions 0, 1, ... with half a step of room at both ends; only as many labels as fit."""
    room = max(len(name) for name in names) * 6.5 + 12
    every = math.ceil(room * len(names) / across)
    return axes.Axis(lambda value: (value + 0.5) / len(names), [float(k) for k in range(0, len(names), every)])


def _dots(
    one: Series,
    place: Callable[[float, float], tuple[float, float]],
    write: Callable[[float], str],
    x_names: Sequence[str],
) -> list[Html]:
    """A dot with a tooltip on every point; visible when there are few, else only under the pointer."""
    kind = f"dot c{one.colour % COLOURS}" + (" quiet" if len(one.points) > 24 else "")
    dots = []
    for x, y in one.points:
        left, top = place(x, y)
        if math.isfinite(left + top):
            where = x_names[int(x)] if x_names else numbers.short(x)
            tip = element("title", None, f"{one.name}, {where}: {write(y)}")
            dots.append(element("circle", {"class": kind, "cx": left, "cy": top, "r": 2.6}, tip))
    return dots


def _legend(series: Sequence[Series], write: Callable[[float], str]) -> Html:
    entries = []
    for one in series:
        kind = f"swatch c{one.colour % COLOURS}" + (" dashed" if one.dashed else "")
        last = next((y for _, y in reversed(one.points) if math.isfinite(y)), None)
        value = element("b", None, write(last)) if last is not None else ""
        entries.append(element("li", None, element("i", {"class": kind}), one.name, " ", value))
    return element("ul", {"class": "legend"}, join(entries))


def _unbroken(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """The stretches between points that are not finite."""
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if math.isfinite(sum(point)):
            runs[-1].append(point)
        else:
            runs.append([])
    return runs


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
