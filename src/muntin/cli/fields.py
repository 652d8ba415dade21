"""From what is typed after `muntin train RECIPE` to a recipe: names of fields checked here, values parsed by tyro.

A field is written by its full name (`--optim.lr 1e-3`), or by its last name alone where exactly one field ends so
(`--lr 1e-3`); dashes and underscores are the same. `--data` and `--model` stand for `--data.path` and `--model.name`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import re
import types
import typing
from typing import Any, Literal, TypeVar

from muntin.errors import UserError, unknown

SHORT = {"data": "data.path", "model": "model.name"}
NUMBERS = {int: "a whole number", float: "a number"}

Tree = TypeVar("Tree")


def override(tree: Tree, arguments: list[str], prog: str, about: str) -> Tree:
    """`tree`, a dataclass of dataclasses, with the fields that `arguments` name replaced.

    `--help` among the arguments prints every field with its type, doc and default, and ends with SystemExit(0).
    Raises UserError for an unknown field, naming the nearest, and for a value of the wrong type.
    """
    import tyro  # not at the top: only `train` needs it

    arguments = _full_names(tree, arguments, prog)
    _check_values(arguments, _kinds(type(tree)), prog)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(type(tree), default=tree, args=arguments, prog=prog, description=about)
    except SystemExit as end:
        if not end.code:
            raise
        sentence = _sentence(said.getvalue()).removeprefix(f"{type(tree).__name__}: ")
        raise UserError(f"{sentence} ({prog} --help)") from None


def named(tree: Any, arguments: list[str], prog: str) -> dict[str, str]:
    """The fields that `arguments` set, by full name as typed (`optim.lr`), each with its first value ("": none).

    Raises UserError for an unknown field, naming the nearest.
    """
    found: dict[str, str] = {}
    flag = ""
    for token in _full_names(tree, arguments, prog):
        if token.startswith("--"):
            flag, _, value = token[2:].partition("=")
            found[flag] = value
        elif flag:
            found[flag] = found[flag] or token
    return found


def _full_names(tree: Any, arguments: list[str], prog: str) -> list[str]:
    """`arguments` with every flag in full: `--lr=1` -> `--optim.lr=1`."""
    kinds = _kinds(type(tree))
    flags = [*kinds, *[_negated(flag) for flag, kind in kinds.items() if kind is bool]]
    return [_full_name(token, flags, prog) if token.startswith("--") else token for token in arguments]


def _kinds(tree: Any, prefix: str = "") -> dict[str, Any]:
    """The types of all fields of a dataclass tree, by their full names as they are typed: `optim.lr`."""
    found: dict[str, Any] = {}
    for name, kind in typing.get_type_hints(tree).items():
        flag = prefix + name.replace("_", "-")
        found |= _kinds(kind, f"{flag}.") if dataclasses.is_dataclass(kind) else {flag: kind}
    return found


def _negated(flag: str) -> str:
    """`training.ema` -> `training.no-ema`."""
    group, dot, name = flag.rpartition(".")
    return f"{group}{dot}no-{name}"


def _check_values(arguments: list[str], kinds: dict[str, Any], prog: str) -> None:
    """Raise UserError for the first value that its field cannot take; whether there are enough of them, tyro says."""
    flag = ""
    for token in arguments:
        value = token
        if token.startswith("--"):
            flag, equals, value = token[2:].partition("=")
            if not equals:
                continue
        kind, name = kinds.get(flag), flag.rpartition(".")[2].replace("-", "_")
        if kind is bool:
            raise UserError(
                f"{name} is a switch and takes no '{value}': --{flag} or --{_negated(flag)} ({prog} --help)"
            )
        if needed := _what_it_must_be(value, kind):
            raise UserError(f"{name} is '{value}'; it must be {needed} ({prog} --help)")


def _what_it_must_be(value: str, kind: Any) -> str:
    """What a value of the type `kind` looks like; empty where `value` is one, or one of the several that it takes."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return "" if value in map(str, arguments) else _either([str(a) for a in arguments])
    if origin is tuple:
        return _what_it_must_be(value, arguments[0])
    if origin in (typing.Union, types.UnionType):
        needed = [_what_it_must_be(value, each) for each in arguments]
        return _either(needed) if all(needed) else ""
    if kind is types.NoneType:
        return "" if value == "None" else "None"
    if kind not in NUMBERS:
        return ""
    try:
        kind(value)
    except ValueError:
        return NUMBERS[kind]
    return ""


def _either(names: list[str]) -> str:
    """["a", "b", "c"] -> "a, b or c"."""
    return f"{', '.join(names[:-1])} or {names[-1]}"


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
    text = re.sub(r"^(\w+): (?=\1)", "", text.removeprefix("Error parsing "))  # groups name themselves, and tyro them
    return text.rstrip(".") or "the arguments could not be read"


def _is_rule(line: str) -> bool:
    return not line.strip("─-╰╯")
