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
        for token in args:  # before argparse, which would first miss what the misspelt option was meant to give
            option = token.partition("=")[0]
            if option.startswith("--") and option not in self._option_string_actions:
                raise unknown("option", option, self._option_string_actions, see=f"{self.prog} --help")
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} ({self.prog} --help)")


def positive(text: str) -> int:
    """A whole number of at least 1."""
    return _at_least(1, text)


def not_negative(text: str) -> int:
    """A whole number of at least 0."""
    return _at_least(0, text)


def share(text: str) -> float:
    """A number of at least 0 and below 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of at least 0 and below 1")
    return number


def _at_least(lowest: int, text: str) -> int:
    if not text.isdecimal() or int(text) < lowest:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number of at least {lowest}")
    return int(text)
