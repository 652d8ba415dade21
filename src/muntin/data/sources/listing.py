"""Names in a sentence."""

from __future__ import annotations

from collections.abc import Iterable


def listing(names: Iterable[str], most: int = 8) -> str:
    """ "a, b, c and 4 more": all names, or the first `most` and the number of the others."""
    names = [one_line(name) for name in names]
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def one_line(text: str) -> str:
    """The text with Python's escapes for what cannot be printed, such as line breaks and commands to a terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
