"""Tables on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def show(table: Table, *, whole: bool = False) -> None:
    """Print a table without markup: rich would take a class called [red] or :cat: for a command.

    whole: print every line in full, even if it is wider than the screen.
    """
    from rich.console import Console

    console = Console(markup=False, emoji=False, highlight=False)
    if whole:
        needed = console.measure(table, options=console.options.update(max_width=1000)).maximum
        console.width = max(console.width, needed)
    console.print(table)
