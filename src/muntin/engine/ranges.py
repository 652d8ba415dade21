"""Checks values for their range, in one sentence, before anything runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from muntin.errors import UserError


def require(settings: object, rules: Mapping[str, tuple[bool, str]]) -> None:
    """Raise UserError for the first field of `settings` that breaks its rule: (whether it holds, what is allowed)."""
    for name, (holds, allowed) in rules.items():
        if not holds:
            raise UserError(f"{name} is {getattr(settings, name)}; it must be {allowed}")


def listed(names: Sequence[str]) -> str:
    """("a", "b", "c") -> "a, b or c"."""
    return f"{', '.join(names[:-1])} or {names[-1]}"


def not_negative(value: float) -> tuple[bool, str]:
    """At least 0, and neither infinite nor nan."""
    return 0 <= value < math.inf, "a finite number of at least 0"


def above_zero(value: float) -> tuple[bool, str]:
    """Above 0, and neither infinite nor nan."""
    return 0 < value < math.inf, "a finite number above 0"


def at_least(lowest: int, value: int) -> tuple[bool, str]:
    """`lowest` or more."""
    return value >= lowest, f"at least {lowest}"
