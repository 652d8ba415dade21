"""What a model's config may hold: the type of each field declares it, and it is checked where a model is built.

- `bool`: True or False. `Literal`: one of its names. `X | None`: also None.
- `int`: a whole number from 1 to LARGEST. `float`: a number from 0 to LARGEST. `Within` sets other limits.
- A size with `Axes`: one whole number an axis. All sizes of a config have as many axes as its first one.
- `tuple[X, ...]`: one X a stage, at most 8. All such fields have as many entries as the first one, and the upper limit
  of X holds for all entries together, too. `Stages` sets other limits.

The limits are far above every existing model: a config may come from anybody's file, and must not keep a machine busy
for hours. The text under a field of a config is what `--help` shows.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import textwrap
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from muntin.errors import UserError, unknown
from muntin.ops.windows import Size

LARGEST = 1 << 16  # channels, and whatever else is counted
MOST_BLOCKS = 1000
LONGEST_SIDE = 1 << 11


@dataclass
class Shape:
    """What all sizes and all tuples of stages of a config have in common, as far as its fields were read."""

    axes: int | None = None
    stages: int | None = None
    stages_of: str = ""  # the field that says how many stages there are


# --- limits of a field: each says what a value must be, in words, "" where it is that --------------------------------


class Within(NamedTuple):
    """Limits of a number, both allowed: `Annotated[int, Within(0, 9)]`."""

    least: float = 1
    most: float = LARGEST

    def needed(self, value: Any, kind: type, shape: Shape) -> str:
        if type(value) in (int, kind) and self.least <= value <= self.most:
            return ""
        return f"a {'whole ' if kind is int else ''}number from {self.least} to {self.most:,}"


class Axes(NamedTuple):
    """Limits of a size, in axes and in the length of a side: `Annotated[Size, Axes(2, 3)]`."""

    fewest: int = 1
    most: int = 3
    longest: int = LONGEST_SIDE

    def needed(self, value: Any, kind: type, shape: Shape) -> str:
        fewest, most = (self.fewest, self.most) if shape.axes is None else (shape.axes, shape.axes)
        sides = isinstance(value, tuple) and all(type(side) is int and 1 <= side <= self.longest for side in value)
        if sides and fewest <= len(value) <= most:
            shape.axes = len(value)
            return ""
        return f"{most if fewest == most else f'{fewest} to {most}'} whole numbers from 1 to {self.longest:,}"


class Stages(NamedTuple):
    """Limits of how many stages there are: `Annotated[tuple[int, ...], Stages(0, 4)]`."""

    fewest: int = 1
    most: int = 8

    def needed(self, values: Any, kind: type, shape: Shape) -> str:
        fewest, most = (self.fewest, self.most) if shape.stages is None else (shape.stages, shape.stages)
        each, limits = get_args(kind)[0], _limited(get_args(kind)[0])[1]
        in_all = limits.most if isinstance(limits, Within) else None
        right = isinstance(values, tuple) and not any(_needed(value, each, shape) for value in values)
        if right and fewest <= len(values) <= most and (in_all is None or sum(values) <= in_all):
            shape.stages = len(values)
            return ""
        count = f"{most} as in {shape.stages_of}" if fewest == most else f"{fewest} to {most}"
        what = _needed(..., each, shape)  # nothing can be `...`
        return f"a tuple with one entry a stage, {count}, each {what}" + (
            f", at most {in_all:,} in all" if in_all else ""
        )


Limits = Within | Axes | Stages
_USUAL: dict[Any, Limits] = {int: Within(), float: Within(least=0), tuple: Stages()}

Blocks = Annotated[int, Within(most=MOST_BLOCKS)]
GridSize = Annotated[Size, Axes()]
PictureSize = Annotated[Size, Axes(2, 2)]


# --- the check -------------------------------------------------------------------------------------------------------


def check_fields(config: Any) -> None:
    """Raise UserError for the first field of a config that does not hold what its type declares."""
    shape = Shape()
    for name, kind in get_type_hints(type(config), include_extras=True).items():
        check_field(name, getattr(config, name), kind, shape)


def check_field(name: str, value: Any, kind: Any, shape: Shape) -> None:
    """Raise UserError for a value that is not what a type declares; `shape` remembers its axes and stages."""
    if needed := _needed(value, kind, shape):
        if get_origin(kind) is Literal:
            raise unknown(name, str(value), get_args(kind))
        raise UserError(f"{name} is {value!r}; it must be {needed}")
    shape.stages_of = shape.stages_of or (name if shape.stages is not None else "")


def check_branches(channels: Sequence[int], heads: Sequence[int], mlp_ratios: Sequence[float]) -> None:
    """Raise UserError where the heads of a stage do not divide its channels, or its MLP has none or too many."""
    for stage, (dim, count, ratio) in enumerate(zip(channels, heads, mlp_ratios)):
        if dim % count:
            raise UserError(f"stage {stage} has {dim} channels, which {count} heads do not divide")
        if not 1 <= dim * ratio <= LARGEST:
            raise UserError(f"mlp_ratio is {ratio}; an MLP of {dim} channels needs 1 to {LARGEST:,} hidden ones")


def _needed(value: Any, kind: Any, shape: Shape) -> str:
    kind, limits = _limited(kind)
    if limits is not None:
        return limits.needed(value, kind, shape)
    form, parts = get_origin(kind), get_args(kind)
    if form in (Union, types.UnionType):
        needed = [_needed(value, part, shape) for part in parts]
        return " or ".join(needed) if all(needed) else ""
    if form is Literal:
        return "" if value in parts else f"one of {', '.join(parts)}"
    words = "None" if kind is types.NoneType else "True or False"
    return "" if isinstance(value, kind) else words


def _limited(kind: Any) -> tuple[Any, Limits | None]:
    """A type without its limits, and these limits or the usual ones."""
    if get_origin(kind) is Annotated:
        kind, limits = get_args(kind)
        return kind, limits
    return kind, _USUAL.get(get_origin(kind) or kind)


# --- for the command line --------------------------------------------------------------------------------------------


class Field(NamedTuple):
    name: str
    kind: Any  # its type, without limits
    default: Any
    doc: str


def fields_of(config: type) -> list[Field]:
    """Every field of a config class; those that it inherits come first."""
    kinds, docs = get_type_hints(config), dict[str, str]()
    for owner in reversed(config.__mro__[:-1]):  # the last is `object`
        docs |= _texts_under_fields(owner)
    return [Field(f.name, kinds[f.name], f.default, docs.get(f.name, "")) for f in dataclasses.fields(config)]


def _texts_under_fields(owner: type) -> dict[str, str]:
    [tree] = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
    return {
        ast.unparse(field.target): inspect.cleandoc(ast.literal_eval(text.value))
        for field, text in itertools.pairwise(tree.body)  # type: ignore[attr-defined]
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }
