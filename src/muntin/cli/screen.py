"""Tables on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def show(table: Table) -> None:
    """Print a table as it is: a class may be called [red] or :cat:, which rich would take for a command."""
    from rich.console import Console

    Console(markup=False, emoji=False, highlight=False).print(table)
