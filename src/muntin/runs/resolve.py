"""Checks whether a recipe says enough to start, and finds the model of its weights if it names none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from muntin import catalog
from muntin.data import Inputs, inputs_from
from muntin.data.transforms.inputs import IMAGENET_MEAN, IMAGENET_STD
from muntin.errors import UserError
from muntin.models.backbone import Backbone
from muntin.recipes import ModelChoice, Recipe
from muntin.recipes.recipe import from_pictures
from muntin.recipes.typed import as_tuples
from muntin.weights.folder import read_config
from muntin.weights.load import weights_file


def resolve(recipe: Recipe) -> Recipe:
    """The recipe with a model. Without a name it is the weights' own, changed by what the recipe sets itself.

    Weights with other channels than ImageNet's bring mean and std; those of a Swin V2 bring the scale of the log-CPB.
    Raises UserError if data, weights or model are missing, and if the weights' channels are not those of the pictures.
    """
    model = recipe.model
    if not recipe.data.path:
        raise UserError(f"the recipe '{recipe.name}' needs pictures: --data FOLDER (or FILE.csv, or digits)")
    if not model.weights and not model.from_scratch:
        named = f" ({recipe.about.starts_from})" if recipe.about.starts_from else ""
        raise UserError(
            f"the recipe '{recipe.name}' starts from trained weights{named}: give --weights RUN_OR_FILE, "
            "or --from-scratch to start from random ones"
        )
    if not model.weights:
        if model.class_map:
            raise UserError(f"--class-map {model.class_map} chooses from a trained head: give --weights, too")
        if not model.name:
            raise UserError("no model: give --model NAME (`muntin models` lists them) or --weights RUN")
        return recipe
    saved = _saved(model)
    if saved is None:
        return recipe
    recipe = replace(recipe, inputs=_pictures(recipe, saved))
    model = _named(model, saved)
    return replace(recipe, model=_as_trained(model, recipe.inputs, saved))


def with_own_model(model: ModelChoice) -> ModelChoice:
    """The choice with the model of its weights, if it has weights and names no model."""
    saved = None if model.name or not model.weights else _saved(model)
    return _named(model, saved) if saved else model


def _named(model: ModelChoice, saved: dict[str, Any]) -> ModelChoice:
    """The choice with the saved model, if it names none, changed by what it sets itself."""
    return model if model.name else replace(model, name=saved["model"], config={**_differing(saved), **model.config})


def resolve_again(recipe: Recipe, begun: Recipe) -> Recipe:
    """The recipe for a resumed run that began as `begun`, with what its weights told then.

    The weights are not read, and may be deleted: the run's checkpoints hold everything that came from them.
    """
    model, told = recipe.model, begun.model
    if not model.weights:
        return recipe
    if not model.name:
        model = replace(model, name=told.name, config={**told.config, **model.config})
    decided = catalog.entry(model.name).family.decided
    by_weights = {name: told.config[name] for name in decided if name in told.config}
    model = replace(model, config={**by_weights, **model.config})
    return replace(recipe, model=model, inputs=_normalised_as(recipe.inputs, begun.inputs))


def with_settings(recipe: Recipe, backbone: Backbone) -> Recipe:
    """The recipe with the settings that the weights decided and no tensor of a checkpoint holds, such as the scale
    of a V2's log-CPB and a ViT's GELU.
    """
    model = recipe.model
    if not model.weights:
        return recipe
    asked, decided = catalog.build_config(model.name, model.config), catalog.entry(model.name).family.decided
    adopted = {name: getattr(backbone.config, name) for name in decided}
    adopted = {name: value for name, value in adopted.items() if value != getattr(asked, name)}
    return replace(recipe, model=model.with_config(**adopted))


def check_adopted(model: ModelChoice, backbone: Backbone) -> None:
    """Raise UserError if the recipe asks for another value of a field that the weights decide."""
    for name in catalog.entry(model.name).family.decided:
        asked, told = model.config.get(name), getattr(backbone.config, name)
        if asked is not None and asked != told:
            raise UserError(f"--{name.replace('_', '-')} is {asked}, and {model.weights} needs {told}; leave it out")


def for_pictures(model: ModelChoice, inputs: Inputs) -> dict[str, Any]:
    """The size of learned positions for the recipe's pictures, unless the recipe sets it."""
    config = catalog.build_config(model.name, model.config)
    fields = catalog.entry(model.name).family.for_pictures(config, inputs.image_size)
    return {name: value for name, value in fields.items() if name not in model.config}


def _saved(model: ModelChoice) -> dict[str, Any] | None:
    """What config.json beside the weights says. If a model is named it may be missing: a bare file has none."""
    file = weights_file(model.weights)
    try:
        saved = read_config(file)
    except UserError as error:
        if model.name:
            return None
        raise UserError(
            f"{error}; or name the model of the weights with --model NAME, or write them as a model folder: "
            "muntin convert"
        ) from None
    return saved | {"config": {key: as_tuples(value) for key, value in saved["config"].items()}}


def _pictures(recipe: Recipe, saved: dict[str, Any]) -> Inputs:
    """The recipe's inputs. Weights with other channels bring mean and std if the recipe has ImageNet's."""
    chosen, channels = recipe.inputs, saved["config"].get("in_chans", 3)
    if channels == len(chosen.mean):
        return chosen
    trained = _normalised_as(chosen, inputs_from(saved["inputs"]))
    if channels == len(trained.mean):
        return trained
    raise UserError(
        f"the model of {recipe.model.weights} takes {channels} channel(s), the pictures of recipe '{recipe.name}' have "
        f"{len(chosen.mean)}: --mean and --std need one value a channel"
    )


def _normalised_as(chosen: Inputs, trained: Inputs) -> Inputs:
    """`chosen` with mean and std of `trained`, unless it has its own: others than ImageNet's."""
    has_own = (chosen.mean, chosen.std) != (IMAGENET_MEAN, IMAGENET_STD)
    return chosen if has_own else replace(chosen, mean=trained.mean, std=trained.std)


def _differing(saved: dict[str, Any]) -> dict[str, Any]:
    """How the saved model differs from its published variant, as `ModelChoice.config`."""
    family = catalog.entry(saved["model"]).family
    config = {key: value for key, value in saved["config"].items() if key not in from_pictures(family)}
    for field in config.keys() & family.squares:
        if len(set(sizes := config[field])) == 1 and isinstance(sizes[0], tuple):
            config[field] = sizes[0]  # saved stage by stage, and the same for all
    return config


def _as_trained(model: ModelChoice, inputs: Inputs, saved: dict[str, Any]) -> ModelChoice:
    """The choice with the fields that its weights need to keep their meaning: a Swin V2 that gets windows other than
    in its training keeps the old ones as the scale of its log-CPB.
    """
    entry, before = catalog.entry(model.name), catalog.entry(saved["model"])
    if before.family is not entry.family:
        return model
    config, had = (catalog.build_config(m, c) for m, c in ((model.name, model.config), (before.name, saved["config"])))
    trained_on = inputs_from(saved["inputs"]).image_size if saved["inputs"] else None
    return model.with_config(**entry.family.kept(config, inputs.image_size, had, trained_on))
