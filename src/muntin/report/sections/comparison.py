"""A few accuracies side by side."""

from __future__ import annotations

from collections.abc import Mapping

from muntin.errors import UserError
from muntin.report.charts import bars
from muntin.report.page import Page


def comparison(
    page: Page,
    values: Mapping[str, float],
    *,
    title: str = "Comparison",
    text: str = "",
    caption: str = "Top-1 on the held-out pictures; a bar of full length is 100 %.",
) -> None:
    """Add one bar a name; values are fractions."""
    if not values:
        raise UserError("nothing to compare: there are no values")
    page.section(title, text)
    page.figure(bars(values), caption)
