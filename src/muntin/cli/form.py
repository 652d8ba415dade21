"""A recipe as a form that the command line fills in. The arguments are read twice.

First come task, model and weights, which decide which fields there are. Then all arguments are read with the fields of
this task and of this model, each with its type, its doc and its value.
"""

from __future__ import annotations

import functools
import operator
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, make_dataclass, replace
from types import GenericAlias
from typing import Annotated, Any, ClassVar, Literal

from muntin import catalog
from muntin.errors import UserError
from muntin.models.fields import Field, fields_of
from muntin.ops.windows import Size
from muntin.recipes import ModelChoice, Recipe
from muntin.recipes.recipe import from_pictures
from muntin.recipes.typed import field_types
from muntin.runs.resolve import with_own_model
from muntin.tasks import CHOICES, TaskChoice

from .epochs import keep_shape
from .fields import dashed, first_values, full_names, negated, override

RENAMED = {  # how flags began while a recipe had the fields of all tasks, and how they do now
    "preprocess.": "inputs.",
    "masking.": "task.",
    "distillation.kind": "task.imitate",
    "distillation.": "task.",
}


def fill_in(recipe: Recipe, arguments: list[str], prog: str, about: str) -> Recipe:
    """Replace the fields of the recipe that `arguments` name.

    Raises UserError for an unknown field, naming the nearest; for a field of another task or model, naming its owner;
    and for a value of the wrong type. `--help` among the arguments ends with SystemExit(0).
    """
    arguments = [_renamed(token) for token in arguments]
    typed = first_values(arguments)
    task, (model, unnamed) = _chosen_task(recipe.task, typed), _chosen_model(recipe.model, typed)
    blank = _blank(recipe, task, model)
    arguments = full_names(type(blank), arguments, prog, _elsewhere(task, model, unnamed))
    given = first_values(arguments)
    filled = override(keep_shape(blank, given), arguments, prog, about)
    try:
        return _recipe(filled, recipe, task, model, given)
    except UserError as error:
        raise UserError(f"{error} ({prog} --help)") from None


def _renamed(token: str) -> str:
    old = next((old for old in RENAMED if token.startswith(f"--{old}")), None)
    return f"--{RENAMED[old]}{token.removeprefix(f'--{old}')}" if old else token


def _chosen_task(choice: TaskChoice, typed: Mapping[str, str]) -> TaskChoice:
    """The task that the arguments choose, with the fields that it shares with the recipe's own."""
    kind = typed.get("task", typed.get("task.kind", ""))
    if kind not in CHOICES or kind == choice.kind:
        return choice
    own: Any = CHOICES[kind]
    shared = {f.name: value for f in fields(own) if f.init and (value := vars(choice).get(f.name)) is not None}
    return own(**shared)


def _chosen_model(choice: ModelChoice, typed: Mapping[str, str]) -> tuple[ModelChoice, str]:
    """The model that the arguments choose, or that of the weights, with the fields of the recipe's config that it has.

    Also returns why the model has no name, if it has none: this is a mistake only if the arguments set fields of a
    model.
    """
    name = typed.get("model", typed.get("model.name", "")) or choice.name
    weights = typed.get("weights", typed.get("model.weights", "")) or choice.weights
    kept = {field: value for field, value in choice.config.items() if not name or _fits(name, field, value)}
    model = replace(choice, name=name, weights=weights, config=kept)
    try:
        return with_own_model(model), "give --model or --weights, too"
    except UserError as error:
        return model, str(error)


def _fits(model: str, field: str, value: Any) -> bool:
    catalog.entry(model)  # an unknown model is refused
    try:
        return bool(ModelChoice(name=model, config={field: value}))
    except UserError:
        return False


def _config_fields(model: str) -> list[Field]:
    """The fields of a model's config that can be chosen; none for no name."""
    if not model:
        return []
    family = catalog.entry(model).family
    return [field for field in fields_of(family.config) if field.name not in from_pictures(family)]


def _blank(recipe: Recipe, task: TaskChoice, model: ModelChoice) -> Any:
    """A dataclass like the recipe, for this task, with the fields of the model's config in the group `model`.

    A field of the recipe's config that the model does not have is in the form, too, so that None can take it back.
    """
    import tyro  # not at the top: only a form needs it

    kinds: dict[str, Any] = {"config": ClassVar[Any]}  # no field of the form
    values = {name: value for name, value in vars(recipe.model).items() if name != "config"}
    for name in recipe.model.config:
        kinds[name], values[name] = Annotated[None, tyro.conf.arg(help="Not of this model: None leaves it out.")], None
    built = catalog.build_config(model.name, model.config) if model.name else None
    for name, kind, _, doc in _config_fields(model.name):
        free = kind if kind is bool else _sized(kind, len(recipe.inputs.image_size)) | None  # None: as published
        kinds[name], values[name] = Annotated[free, tyro.conf.arg(help=doc)], getattr(built, name)
    kind = Annotated[Literal[tuple(CHOICES)], tyro.conf.arg(help="What is learnt.")]
    groups = {
        "task": _variant(type(task), {"kind": kind}, vars(task)),
        "model": _variant(ModelChoice, kinds, values),
    }
    return _variant(Recipe, {name: type(group) for name, group in groups.items()}, vars(recipe) | groups)


def _variant(base: type, kinds: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    """An instance of a dataclass like `base`, with these fields added or replaced. It checks no values."""
    unchecked = {"__post_init__": lambda self: None}
    form = make_dataclass(base.__name__, kinds.items(), bases=(base,), namespace=unchecked, frozen=True, kw_only=True)
    return form(**values)


def _sized(kind: Any, axes: int) -> Any:
    """`kind`, with sizes of `axes` numbers where it may be a row of sizes: bare numbers do not say where one ends."""
    parts = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    if tuple[Size, ...] not in parts:
        return kind
    size: Any = GenericAlias(tuple, (int,) * axes)
    exact = {Size: size, tuple[Size, ...]: GenericAlias(tuple, (size, ...))}
    return functools.reduce(operator.or_, [exact.get(part, part) for part in parts])


def _elsewhere(task: TaskChoice, model: ModelChoice, unnamed: str) -> dict[str, str]:
    """What to answer to flags that belong to other tasks and models; `unnamed` is for a model without a name."""
    tasks: dict[str, list[str]] = {}
    for kind, choice in CHOICES.items():
        for flag in _flags("task", field_types(choice)):
            tasks.setdefault(flag, []).append(kind)
    found = {
        flag: f"is a field of the task {' or '.join(kinds)}, but this task is {task.kind}: leave it out"
        for flag, kinds in tasks.items()
    }
    families: dict[str, list[str]] = {}
    follow: set[str] = set()
    for name, family in catalog.FAMILIES.items():
        follow |= {f"model.{dashed(field)}" for field in from_pictures(family)}
        for flag in _flags("model", field_types(family.config)):
            families.setdefault(flag, []).append(name)
    instead = f"{model.name} has no such field: leave it out" if model.name else unnamed
    found |= {flag: f"is a field of {', '.join(names)}; {instead}" for flag, names in families.items()}
    found |= dict.fromkeys(follow, "follows from the pictures: leave it out")
    return found | {"model.fields": "is gone: every field has a flag of its own, such as --gelu erf"}


def _flags(group: str, kinds: Mapping[str, Any]) -> list[str]:
    """How the fields of a group are typed."""
    flags = {f"{group}.{dashed(name)}": kind for name, kind in kinds.items()}
    return [*flags, *(negated(flag) for flag, kind in flags.items() if kind is bool)]


def _recipe(filled: Any, recipe: Recipe, task: TaskChoice, model: ModelChoice, given: Mapping[str, str]) -> Recipe:
    """The filled-in form as a recipe. Its config has what the recipe sets and what the flags set."""
    config = dict(recipe.model.config)
    for name in [*(field.name for field in _config_fields(model.name)), *recipe.model.config]:
        flag = f"model.{dashed(name)}"
        if flag in given or negated(flag) in given:
            config[name] = getattr(filled.model, name)
        elif name in config and name not in model.config:
            raise UserError(
                f"{name} is {config[name]} in the recipe '{recipe.name}', which a {model.name} cannot have: give "
                f"--{dashed(name)} too, with another value or None"
            )
    config = {name: value for name, value in config.items() if value is not None}
    chosen = ModelChoice(**_values(filled.model, ModelChoice), config=config)
    parts = {"task": type(task)(**_values(filled.task, type(task))), "model": chosen}
    return Recipe(**_values(filled, Recipe) | parts)


def _values(filled: Any, group: Any) -> dict[str, Any]:
    """The values for the constructor of a group that were filled in."""
    return {f.name: vars(filled)[f.name] for f in fields(group) if f.init and f.name in vars(filled)}
