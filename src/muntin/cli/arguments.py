"""Options of a verb, where a mistake is one sentence instead of a usage page."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from muntin.errors import UserError, unknown


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UserError, and answers an unknown option with the nearest one."""

    def __init__(self, verb: str, description: str):
        super().__init__(prog=f"muntin {verb}", description=description, allow_abbrev=False)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, left = self.parse_known_args(args, namespace)
        for token in left:
            if token.startswith("-"):
                raise unknown("option", token.partition("=")[0], self._option_string_actions, see=f"{self.prog} --help")
        if left:
            raise UserError(f"{self.prog} does not know what to do with '{left[0]}' ({self.prog} --help)")
        return found

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message} ({self.prog} --help)")


def positive(text: str) -> int:
    """A whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def at_least_zero(text: str) -> int:
    """A whole number of at least 0."""
    number = int(text)
    if number < 0:
        raise ValueError
    return number
