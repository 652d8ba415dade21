"""Signal propagation: how large the activations grow on their way through the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from muntin.errors import UserError
from muntin.report.charts import Series, line_chart
from muntin.report.page import Page


def amplitude(
    page: Page,
    models: Mapping[str, Sequence[tuple[str, float]]],
    *,
    title: str = "Signal propagation",
    text: str = "How large a block's output is, block after block (the Swin V2 paper's figure 2).",
) -> None:
    """Add one line a model from `inside_the_model.amplitudes`: model name -> (block name, mean feature variance) in
    depth order.
    """
    if not any(models.values()):
        raise UserError("no amplitude to draw: no model has a block")
    longest = max(models.values(), key=len)
    series = [
        Series(name, [(float(place), value) for place, (_, value) in enumerate(blocks)], colour)
        for colour, (name, blocks) in enumerate(models.items())
    ]
    page.section(title, text)
    page.figure(
        line_chart(
            series,
            title="Average feature variance of each block's output",
            x_label="block (stage . number)",
            x_names=[name for name, _ in longest],
            log=True,
            wide=True,
        ),
        "Swin V1 normalises what goes into a branch and adds whatever comes out, so the main path tends to grow block "
        "by block; in large models the deepest layers become so much louder than the first that training breaks. Swin "
        "V2 normalises the branch's output instead (res-post-norm), so each block adds a bounded amount. A step "
        "between stages comes from the merging layer.",
    )
