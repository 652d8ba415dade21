"""Window and resolution transfer: the paper's table 1 for this run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from muntin.errors import UserError
from muntin.report import numbers
from muntin.report.charts import Series, line_chart
from muntin.report.page import Page


def transfer(
    page: Page,
    rows: Sequence[Mapping[str, object]],
    *,
    title: str = "Transfer to larger windows",
    text: str = "The trained model is asked to work with a larger window on a larger picture: at once, and after a "
    "short fine-tuning.",
) -> None:
    """Add the transfer chart and table.

    rows: {"bias": "log-CPB", "window": 8, "image": 32, "without": 0.97, "with": 0.98}; accuracies are fractions, "with"
    (after fine-tuning) may be None. Rows of one bias stand in the order of the targets.
    """
    if not rows:
        raise UserError("no transfer to show: there are no rows")
    targets = list(dict.fromkeys((_side(row["window"]), _side(row["image"])) for row in rows))
    names = [f"window {window}, {image} px" for window, image in targets]
    series = []
    for colour, bias in enumerate(dict.fromkeys(str(row["bias"]) for row in rows)):
        for key, label, dashed in (("with", "fine-tuned", False), ("without", "as it is", True)):
            points = [
                (float(targets.index((_side(row["window"]), _side(row["image"])))), value)
                for row in rows
                if str(row["bias"]) == bias and (value := _fraction(row[key])) is not None
            ]
            if points:
                series.append(Series(f"{bias}, {label}", points, colour, dashed))
    page.section(title, text)
    page.figure(
        line_chart(series, title="Top-1", x_label="target", x_names=names, percent=True, wide=True),
        "Left: the window and picture size the model was trained with. To the right both grow. A table of biases has "
        "to be stretched by bicubic interpolation; the log-spaced continuous bias (log-CPB) is a function of the "
        "offset and is simply asked for farther offsets. Dotted: without any further training. Solid: after a short "
        "fine-tuning.",
    )
    page.table(
        ["bias", "window", "picture", "as it is", "fine-tuned"],
        [
            [row["bias"], _side(row["window"]), f"{_side(row['image'])} px", _cell(row["without"]), _cell(row["with"])]
            for row in rows
        ],
        "Top-1 on the held-out pictures.",
    )


def _fraction(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _cell(value: object) -> str:
    fraction = _fraction(value)
    return "–" if fraction is None else numbers.percent(fraction)


def _side(value: object) -> str:
    """8 or (8, 8) -> "8"; (8, 12) -> "8 × 12"."""
    sides = list(value) if isinstance(value, tuple | list) else [value]
    return str(sides[0]) if len(set(sides)) == 1 else " × ".join(map(str, sides))
