"""Tables on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def show(table: Table, *, whole: bool = False) -> None:
    """Print a table as it is: a class may be called [red] or :cat:, which rich would take for a command.

    whole: every line in full, also where it is longer than the screen is wide.
    """
    from rich.console import Console

    console = Console(markup=False, emoji=False, highlight=False)
    if whole:
        needed = console.measure(table, options=console.options.update(max_width=1000)).maximum
        console.width = max(console.width, needed)
    console.print(table)
