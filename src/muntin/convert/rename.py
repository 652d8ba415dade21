"""Renaming the tensors of a checkpoint by a table that reads both ways.

A table is an ordered dictionary, foreign pattern -> our pattern, most particular first. `{s}` and `{b}` stand for
numbers, `*` for the rest of the key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

Table = Mapping[str, str]


def rename(state: Mapping[str, Tensor], table: Table) -> tuple[dict[str, Tensor], list[str]]:
    """Rename what the table knows: -> renamed tensors, and the keys that no pattern fits, in their order."""
    rules = [(_regex(old), _template(new)) for old, new in table.items()]
    renamed, left = {}, []
    for key, tensor in state.items():
        for regex, template in rules:
            if found := regex.fullmatch(key):
                renamed[template.format(**found.groupdict())] = tensor
                break
        else:
            left.append(key)
    return renamed, left


def backwards(table: Table) -> dict[str, str]:
    """The same table for the other direction."""
    return {new: old for old, new in table.items()}


def matches(key: str, patterns: list[str]) -> bool:
    """Whether a key fits one of the patterns; here `*` may stand anywhere."""
    return any(re.fullmatch(re.escape(p).replace(r"\*", ".*"), key) for p in patterns)


def _regex(pattern: str) -> re.Pattern[str]:
    escaped = re.escape(pattern).replace(r"\*", "(?P<rest>.+)")
    return re.compile(re.sub(r"\\\{(\w)\\\}", r"(?P<\1>\\d+)", escaped))


def _template(pattern: str) -> str:
    return pattern.replace("*", "{rest}")
