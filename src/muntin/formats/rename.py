"""Renaming the tensors of a checkpoint by a table that reads both ways.

A table is an ordered dictionary, foreign pattern -> our pattern, most particular first. `{s}` and `{b}` stand for whole
numbers, `*` for `weight` or `bias`. `{s+1}` and `{2s+1}` stand for another count of the same thing: the pattern
`stage{s+1}` fits `stage3` with s = 2. Two foreign patterns may share one of ours: both are read, the first is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from muntin.errors import UserError

Table = Mapping[str, str]

_NUMBER = re.compile(r"\{(\d*)([a-z])(?:\+(\d+))?\}")  # factor, letter, offset


def rename_keys(keys: Iterable[str], table: Table) -> tuple[dict[str, str], list[str]]:
    """Rename what the table knows. Returns {key: new key}, and the keys that no pattern fits, in their order.

    Raises UserError where two keys would become one.
    """
    rules = [(_Pattern(old), _Pattern(new)) for old, new in table.items()]
    renamed: dict[str, str] = {}
    sources: dict[str, str] = {}
    left = []
    for key in keys:
        values = None
        for old, new in rules:
            if (values := old.find(key)) is not None:
                renamed[key] = new.fill(values)
                break
        if values is None:
            left.append(key)
        elif sources.setdefault(renamed[key], key) != key:
            raise UserError(
                f"the file holds one tensor twice, as {sources[renamed[key]]} and as {key}; remove the one not meant"
            )
    return renamed, left


def rename(state: Mapping[str, Tensor], table: Table) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors under their new names, and the keys that no pattern fits, in their order."""
    renamed, left = rename_keys(state, table)
    return {new: state[old] for old, new in renamed.items()}, left


def backwards(table: Table) -> dict[str, str]:
    """The same table for the other direction."""
    turned: dict[str, str] = {}
    for old, new in table.items():
        turned.setdefault(new, old)
    return turned


def nested(outer: str, inner: str, table: Table) -> dict[str, str]:
    """The table for the inside of something, with the prefixes of both sides."""
    return {outer + old: inner + new for old, new in table.items()}


class _Pattern:
    """One side of a rule."""

    def __init__(self, pattern: str):
        self._numbers = {letter: (int(times or 1), int(plus or 0)) for times, letter, plus in _NUMBER.findall(pattern)}
        named = re.escape(_NUMBER.sub(r"<\2>", pattern)).replace(r"\*", "(?P<rest>weight|bias)")
        # at most four digits: more are no count of anything
        self._regex = re.compile(re.sub(r"<([a-z])>", r"(?P<\1>0|[1-9]\\d{0,3})", named))
        self._template = _NUMBER.sub(r"{\2}", pattern).replace("*", "{rest}")

    def find(self, key: str) -> dict[str, int | str] | None:
        """What letters and star stand for in a key, None if it does not fit."""
        found = self._regex.fullmatch(key)
        if found is None:
            return None
        values: dict[str, int | str] = dict(found.groupdict())
        for letter, (times, plus) in self._numbers.items():
            count, rest = divmod(int(found[letter]) - plus, times)
            if rest or count < 0:
                return None
            values[letter] = count
        return values

    def fill(self, values: Mapping[str, int | str]) -> str:
        """The key for these values."""
        counts = {letter: times * int(values[letter]) + plus for letter, (times, plus) in self._numbers.items()}
        return self._template.format(**{**values, **counts})
