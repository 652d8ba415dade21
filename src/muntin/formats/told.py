"""Values from a config.json, which may come from anybody: a value of the wrong form counts as missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from muntin.errors import UserError

# activations of transformers -> ours
_GELU = {"gelu": "erf", "gelu_python": "erf", "gelu_pytorch_tanh": "tanh", "gelu_new": "tanh", "gelu_fast": "tanh"}


def plain(values: Any, names: Iterable[str]) -> dict[str, Any]:
    """The named values that are a word, a whole number, or whole numbers for each stage."""
    told = values if isinstance(values, dict) else {}
    found = {name: tuple(v) if isinstance(v := told.get(name), list) else v for name in names}
    return {name: value for name, value in found.items() if _is_plain(value)}


def sides(value: Any, count: int) -> tuple[tuple[int, int], ...] | None:
    """Sides or sizes in this number, such as one a stage. transformers writes 0 for the window in use."""
    if not isinstance(value, list) or len(value) != count:
        return None
    pairs = [[side, side] if type(side) is int else side for side in value]
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(type(side) is int and side > 0 for side in pair):
            return None
    return tuple((height, width) for height, width in pairs)


def gelu(theirs: Mapping[str, Any], known: tuple[str, ...] = ("erf", "tanh")) -> str:
    """The GELU that a config of transformers names. Raises UserError for any other activation than those known."""
    activation = theirs.get("hidden_act", "gelu")
    found = _GELU.get(activation) if isinstance(activation, str) else None
    if found not in known:
        raise UserError(
            f"these weights are of a {theirs.get('model_type')} with hidden_act {activation!r}, which muntin "
            "does not have; they would load and give other numbers"
        )
    return found  # type: ignore[return-value]


def _is_plain(value: Any) -> bool:
    return type(value) in (str, int) or (type(value) is tuple and all(type(side) is int for side in value))
