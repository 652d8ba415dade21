"""Turns plain values, as JSON has them, into what dataclasses declare."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from muntin.engine.ranges import listed
from muntin.errors import UserError, unknown
from muntin.tasks import CHOICES, TaskChoice


def field_types(group: type) -> dict[str, Any]:
    """The declared types of a dataclass's fields, by name."""
    kinds = typing.get_type_hints(group)
    return {f.name: kinds[f.name] for f in dataclasses.fields(group)}


def typed(kind: Any, value: Any, name: str, place: str) -> Any:
    """Turn `value` into the type `kind`. `name` is the field's full name, `place` the file that holds the value.

    Raises UserError for a value of another type, and for a field that a group does not have (with the nearest name) or
    lacks.
    """
    if kind is TaskChoice:
        return _group(_tagged(CHOICES, value, name, place), value, name, place)
    if dataclasses.is_dataclass(kind):
        return _group(typing.cast(type, kind), value, name, place)
    if typing.get_origin(kind) is Annotated:
        kind = typing.get_args(kind)[0]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        for each in arguments:
            with contextlib.suppress(UserError):
                return typed(each, value, name, place)
    if kind is types.NoneType and value is None:
        return None
    if origin is Mapping and isinstance(value, dict):
        return {key: as_tuples(each) for key, each in value.items()}
    if origin is tuple and isinstance(value, list | tuple):
        each = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(each) == len(value):
            return tuple(typed(a, v, name, place) for a, v in zip(each, value))
    if origin is Literal and value in arguments:
        return value
    if kind is float and type(value) in (int, float):
        return float(value)
    if kind in (bool, int, str) and type(value) is kind:
        return value
    needed = kind.__name__ if isinstance(kind, type) and origin is None else str(kind).replace("typing.", "")
    needed = listed(arguments) if origin is Literal else needed
    raise UserError(f"{place}: {name} is {_shown(value)}; it must be {needed}")


def _group(group: type, value: Any, name: str, place: str) -> Any:
    if not isinstance(value, dict):
        raise UserError(f"{place}: {name or 'the recipe'} is {_shown(value)}; it must be an object with named fields")
    fields, prefix = {f.name: f for f in dataclasses.fields(group)}, f"{name}." if name else ""
    for key in value:
        if key not in fields:
            raise unknown("field", f"{prefix}{key}", [prefix + known for known in fields], see=place)
    for key, f in fields.items():
        if key not in value and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise UserError(f"{place}: {prefix}{key} is missing; add it, or start from a recipe.json that a run wrote")
    kinds = field_types(group)
    given = {key: typed(kinds[key], each, prefix + key, place) for key, each in value.items()}
    return group(**{key: each for key, each in given.items() if fields[key].init})


def _tagged(kinds: Mapping[str, type], value: Any, name: str, place: str) -> type:
    """The one of several dataclasses whose `kind` the value says."""
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise UserError(f"{place}: {name}.kind is {_shown(kind)}; it must be {listed([*kinds])}")
    return kinds[kind]


def _shown(value: Any) -> str:
    return json.dumps(value, default=str)


def as_tuples(value: Any) -> Any:
    """Lists, as JSON has them, to tuples."""
    return tuple(map(as_tuples, value)) if isinstance(value, list) else value
