"""Loss, accuracy and learning rate over the epochs, several runs in one chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from muntin.errors import UserError
from muntin.report.charts import Series, line_chart
from muntin.report.markup import Html, element
from muntin.report.page import Page

Rows = Sequence[Mapping[str, object]]

CHARTS = [  # split, key, title
    ("train", "loss", "Training loss"),
    ("val", "loss", "Validation loss"),
    ("val", "top1", "Validation top-1"),
    ("train", "lr", "Learning rate"),
    ("train", "samples_per_second", "Samples per second"),
]


def curves(
    page: Page,
    runs: Mapping[str, Rows],
    *,
    title: str = "Training",
    text: str = "What the run wrote into metrics.jsonl, averaged over each epoch.",
) -> None:
    """Add line charts of every known quantity that some run recorded.

    runs: name -> rows of metrics.jsonl, as read; rows with `split` "train" hold loss, lr, samples_per_second, rows
    with "val" hold top1 and, if measured, loss.
    """
    charts = [chart for split, key, name in CHARTS if (chart := _chart(runs, split, key, name))]
    if not charts:
        raise UserError("no curve to draw: no run has a metrics row with loss, lr or top1")
    page.section(title, text)
    page.figure(
        element("div", {"class": "panels"}, *charts),
        "Every line is one run; the number beside its name is its last value. The loss should fall quickly, then ever "
        "more slowly; accuracy mirrors it. The learning rate warms up over the first epochs, while the weights are "
        "still wild, and then decays so that the model can settle.",
    )


def _chart(runs: Mapping[str, Rows], split: str, key: str, title: str) -> Html | None:
    """The chart of one quantity, or None when no run has it."""
    series = []
    for colour, (name, rows) in enumerate(runs.items()):
        points = _by_epoch(rows, split, key)
        if points:
            series.append(Series(name, points, colour))
    if not series:
        return None
    values = [y for one in series for _, y in one.points]
    spread = min(values) > 0 and max(values) > 20 * min(values)
    return line_chart(
        series,
        title=title,
        x_label="epoch",
        percent=key == "top1",
        log=spread and key == "loss",
        low=0.0 if key == "samples_per_second" else None,
    )


def _by_epoch(rows: Rows, split: str, key: str) -> list[tuple[float, float]]:
    """(epoch, mean of the rows of that epoch) in order."""
    found: dict[float, list[float]] = {}
    for row in rows:
        value, epoch = row.get(key), row.get("epoch")
        if row.get("split") == split and isinstance(value, int | float) and isinstance(epoch, int | float):
            found.setdefault(float(epoch), []).append(float(value))
    return [(epoch, sum(values) / len(values)) for epoch, values in sorted(found.items())]
