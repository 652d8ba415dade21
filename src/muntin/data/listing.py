"""Names in a sentence."""

from __future__ import annotations

from collections.abc import Iterable


def listing(names: Iterable[str], most: int = 8) -> str:
    """ "a, b, c and 4 more": all names, or the first `most` and the number of the others."""
    names = [" ".join(name.splitlines()) for name in names]  # a message is one line, whatever a file calls things
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
