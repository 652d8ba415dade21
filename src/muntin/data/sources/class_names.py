"""The order of class names."""

from __future__ import annotations

from collections.abc import Iterable


def sorted_classes(names: Iterable[str]) -> list[str]:
    """Sort class names: by number if all are whole numbers, else by letter."""
    names = list(names)
    if all(name.isascii() and name.isdigit() for name in names):
        return sorted(names, key=lambda name: (len(name.lstrip("0")), name.lstrip("0"), name))  # of any length
    return sorted(names)
