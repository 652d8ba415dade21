"""What is typed after `muntin train RECIPE`, turned into a recipe: names of fields are checked here, tyro parses
values.

You write a field by its full name (`--optim.lr 1e-3`), or by its short name if only one field has it (`--lr 1e-3`).
Dashes and underscores are the same. `--data` and `--model` stand for `--data.path` and `--model.name`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import re
import types
import typing
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from muntin.errors import UserError, unknown

SHORT = {"data": "data.path", "model": "model.name", "task": "task.kind"}
NUMBERS = {int: "a whole number", float: "a number"}

Tree = TypeVar("Tree")


def override(tree: Tree, arguments: list[str], prog: str, about: str) -> Tree:
    """Replace the fields of `tree`, a dataclass of dataclasses, that `arguments` name.

    `--help` among the arguments prints every field with its type, doc and default, and ends with SystemExit(0). Raises
    UserError for an unknown field, naming the nearest, and for a value of the wrong type.
    """
    import tyro  # not at the top: only `train` needs it

    arguments = full_names(type(tree), arguments, prog)
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


def full_names(
    tree: type, arguments: list[str], prog: str, elsewhere: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """`arguments` for a dataclass of dataclasses, with every flag in full: `--lr=1` becomes `--optim.lr=1`.

    elsewhere: flags, in full, of fields that this tree does not have, and what to say to each. Raises UserError for an
    unknown field, naming the nearest.
    """
    kinds = _kinds(tree)
    flags = [*kinds, *[negated(flag) for flag, kind in kinds.items() if kind is bool]]
    return [_full_name(token, flags, prog, elsewhere) if token.startswith("--") else token for token in arguments]


def first_values(arguments: list[str]) -> dict[str, str]:
    """The flags among `arguments`, with dashes but without those in front, and the first value of each ("": none)."""
    found: dict[str, str] = {}
    flag = ""
    for token in arguments:
        if token.startswith("--"):
            flag, _, value = token[2:].partition("=")
            flag = dashed(flag)
            found[flag] = value
        elif flag:
            found[flag] = found[flag] or token
    return found


def _kinds(tree: Any, prefix: str = "") -> dict[str, Any]:
    """The types of all fields of a dataclass tree, by their full names as they are typed: `optim.lr`."""
    found: dict[str, Any] = {}
    kinds = typing.get_type_hints(tree)
    for field in dataclasses.fields(tree):
        kind, flag = kinds[field.name], prefix + dashed(field.name)
        found |= _kinds(kind, f"{flag}.") if dataclasses.is_dataclass(kind) else {flag: kind}
    return found


def dashed(name: str) -> str:
    """A field's name as it is typed."""
    return name.replace("_", "-")


def negated(flag: str) -> str:
    """The flag that turns a switch off: `training.no-ema` of `training.ema`."""
    group, dot, name = flag.rpartition(".")
    return f"{group}{dot}no-{name}"


def _check_values(arguments: list[str], kinds: dict[str, Any], prog: str) -> None:
    """Raise UserError for the first value that its field cannot take. tyro checks how many values there are."""
    flag = ""
    for token in arguments:
        value = token
        if token.startswith("--"):
            flag, equals, value = token[2:].partition("=")
            if not equals:
                continue
        kind, name = kinds.get(flag), flag.rpartition(".")[2].replace("-", "_")
        if kind is bool:
            raise UserError(f"{name} is a switch and takes no '{value}': --{flag} or --{negated(flag)} ({prog} --help)")
        if needed := _what_it_must_be(value, kind):
            raise UserError(f"{name} is '{value}'; it must be {needed} ({prog} --help)")


def _what_it_must_be(value: str, kind: Any) -> str:
    """What a value of the type `kind` looks like; empty if `value` is one, also one of several that it takes."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return "" if value in map(str, arguments) else _either([str(a) for a in arguments])
    if origin is tuple:
        return _what_it_must_be(value, arguments[0])
    if origin in (typing.Union, types.UnionType):
        needed = dict.fromkeys(_what_it_must_be(value, each) for each in arguments)
        return _either([*needed]) if all(needed) else ""
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
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _full_name(token: str, flags: list[str], prog: str, elsewhere: Mapping[str, str]) -> str:
    """`--lr=1` -> `--optim.lr=1`."""
    typed, equals, value = token[2:].partition("=")
    name = dashed(typed)
    if name != "help" and name not in flags:
        same_end = [flag for flag in flags if _last(flag) == name]
        others = [said for flag, said in elsewhere.items() if name in (flag, _last(flag))]
        if name in SHORT:
            name = SHORT[name]
        elif len(same_end) == 1:
            name = same_end[0]
        elif same_end:
            raise UserError(f"--{name} could mean {' or '.join('--' + f for f in same_end)}: write the one you mean")
        elif others:
            raise UserError(f"--{name} {others[0]} ({prog} --help)")
        else:
            raise unknown("field", f"--{name}", [f"--{f}" for f in [*flags, *map(_last, flags)]], see=f"{prog} --help")
    return f"--{name}{equals}{value}"


def _last(flag: str) -> str:
    """`optim.lr` -> `lr`."""
    return flag.rpartition(".")[2]


def _sentence(box: str) -> str:
    """The text of a boxed message of tyro between its title and its next rule, on one line.

    Borders are lines, or spaces on terminals without them; then the title has a rule of its own.
    """
    lines = [line.strip("│ ") for line in box.splitlines()[1:]]
    said = itertools.dropwhile(_is_rule, lines)
    text = " ".join(itertools.takewhile(lambda line: not _is_rule(line), said))
    text = re.sub(r"^(\w+): (?=\1)", "", text.removeprefix("Error parsing "))  # groups name themselves, and tyro them
    return text.rstrip(".") or "the arguments could not be read"


def _is_rule(line: str) -> bool:
    return not line.strip("─-╰╯")
