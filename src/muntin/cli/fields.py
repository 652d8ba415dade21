"""From what is typed after `muntin train RECIPE` to a recipe: names of fields checked here, values parsed by tyro.

A field is written by its full name (`--optim.lr 1e-3`), or by its last name alone where exactly one field ends so
(`--lr 1e-3`); dashes and underscores are the same. `--data` and `--model` stand for `--data.path` and `--model.name`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
from typing import Any, TypeVar

from muntin.errors import UserError, unknown

SHORT = {"data": "data.path", "model": "model.name"}

Tree = TypeVar("Tree")


def override(tree: Tree, arguments: list[str], prog: str, about: str) -> Tree:
    """`tree`, a dataclass of dataclasses, with the fields that `arguments` name replaced.

    `--help` among the arguments prints every field with its type, doc and default, and ends with SystemExit(0).
    Raises UserError for an unknown field, naming the nearest, and for a value of the wrong type.
    """
    import tyro  # not at the top: only `train` needs it

    flags = _flags(tree)
    arguments = [_full_name(token, flags, prog) if token.startswith("--") else token for token in arguments]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(type(tree), default=tree, args=arguments, prog=prog, description=about)
    except SystemExit as end:
        if not end.code:
            raise
        raise UserError(f"{_sentence(said.getvalue())} ({prog} --help)") from None


def _flags(tree: Any, prefix: str = "") -> list[str]:
    """Full names of all fields of a dataclass tree as they are typed: `optim.lr`; switches also as `model.no-x`."""
    found = []
    for field in dataclasses.fields(tree):
        value, name = getattr(tree, field.name), field.name.replace("_", "-")
        if dataclasses.is_dataclass(value):
            found += _flags(value, f"{prefix}{name}.")
        else:
            found += [prefix + name] + ([f"{prefix}no-{name}"] if isinstance(value, bool) else [])
    return found


def _full_name(token: str, flags: list[str], prog: str) -> str:
    """`--lr=1` -> `--optim.lr=1`."""
    name, equals, value = token[2:].partition("=")
    name = name.replace("_", "-")
    if name != "help" and name not in flags:
        same_end = [flag for flag in flags if flag.rpartition(".")[2] == name]
        if name in SHORT:
            name = SHORT[name]
        elif len(same_end) == 1:
            name = same_end[0]
        elif same_end:
            raise UserError(f"--{name} could mean {' or '.join('--' + f for f in same_end)}: write the one you mean")
        else:
            last_names = [flag.rpartition(".")[2] for flag in flags]
            raise unknown("field", f"--{name}", [f"--{f}" for f in [*flags, *last_names]], see=f"{prog} --help")
    return f"--{name}{equals}{value}"


def _sentence(box: str) -> str:
    """What a boxed message of tyro says between its title and its next rule, on one line.

    Borders are lines, or on terminals without them spaces, and the title then has a rule of its own.
    """
    lines = [line.strip("│ ") for line in box.splitlines()[1:]]
    said = itertools.dropwhile(_is_rule, lines)
    text = " ".join(itertools.takewhile(lambda line: not _is_rule(line), said))
    return text.removeprefix("Error parsing ").rstrip(".") or "the arguments could not be read"


def _is_rule(line: str) -> bool:
    return not line.strip("─-╰╯")
