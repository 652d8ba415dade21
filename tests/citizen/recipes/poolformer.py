"""A recipe for PoolFormer on the built-in digits."""

from __future__ import annotations

from dataclasses import replace

from .digits import digits
from .recipe import About, ModelChoice, Recipe


def poolformer_digits() -> Recipe:
    """A small PoolFormer on the built-in digits, from scratch."""
    return replace(
        digits(),
        name="poolformer_digits",
        model=ModelChoice(name="poolformer_tiny", from_scratch=True),
        about=About(command="muntin train poolformer_digits", hardware="2 CPU cores", expected="95 % top-1"),
    )
