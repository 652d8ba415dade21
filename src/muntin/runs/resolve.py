"""Whether a recipe says enough to start, and the model of its weights where it names none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from muntin import catalog
from muntin.data import PictureInput, inputs_from
from muntin.errors import UserError
from muntin.models.backbone import Backbone
from muntin.recipes import ModelChoice, Recipe
from muntin.recipes.recipe import FROM_PICTURES
from muntin.weights.folder import read_config
from muntin.weights.load import weights_file


def resolve(recipe: Recipe) -> Recipe:
    """The recipe with a model, its weights' own where it names none, but for what the recipe sets itself.

    Mean and std come with weights of other channels than ImageNet's; so does what training fixed in them for good.
    Raises UserError where data, weights or model are missing, and where the weights' channels are not the pictures'.
    """
    model = recipe.model
    if not recipe.data.path:
        raise UserError(f"the recipe '{recipe.name}' needs pictures: --data FOLDER (or FILE.csv, or digits)")
    if not model.weights and not model.from_scratch:
        named = f" ({recipe.about.starts_from})" if recipe.about.starts_from else ""
        raise UserError(
            f"the recipe '{recipe.name}' starts from trained weights{named}: give --weights RUN_OR_FILE, "
            "or say --from-scratch to do without"
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
    return replace(recipe, model=_kept(model, recipe.inputs.image_size, saved))


def with_own_model(model: ModelChoice) -> ModelChoice:
    """The choice with the model of its weights, where it has weights and names no model."""
    saved = None if model.name or not model.weights else _saved(model)
    return _named(model, saved) if saved else model


def _named(model: ModelChoice, saved: dict[str, Any]) -> ModelChoice:
    """The choice with the saved model, if it names none, but for what it sets itself."""
    return model if model.name else replace(model, name=saved["model"], config={**_differing(saved), **model.config})


def resolve_again(recipe: Recipe, begun: Recipe) -> Recipe:
    """The recipe for going on with a run that began as `begun`, with what its weights told then.

    The weights are not looked at, and may be gone: the run's checkpoints hold all that was taken from them.
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
    """The recipe with what the weights told and no tensor of a checkpoint holds."""
    model = recipe.model
    if not model.weights:
        return recipe
    asked = catalog.build_config(model.name, model.config)
    decided = {name: getattr(backbone.config, name) for name in catalog.entry(model.name).family.decided}
    differing = {name: value for name, value in decided.items() if value != getattr(asked, name)}
    return replace(recipe, model=model.with_config(**differing))


def _saved(model: ModelChoice) -> dict[str, Any] | None:
    """What config.json says beside the weights. With a model named it may be missing: a bare file has none."""
    file = weights_file(model.weights)
    try:
        saved = read_config(file)
    except UserError as error:
        if model.name:
            return None
        raise UserError(
            f"{error}; or say which model the weights are of, --model NAME, or write them as a folder that says it: "
            "muntin convert"
        ) from None
    return saved | {"config": {key: _tuples(value) for key, value in saved["config"].items()}}


def _pictures(recipe: Recipe, saved: dict[str, Any]) -> PictureInput:
    """The recipe's preprocessing. Weights of other channels bring mean and std where it has ImageNet's."""
    chosen, channels = recipe.inputs, saved["config"].get("in_chans", 3)
    if channels == len(chosen.mean):
        return chosen
    trained = _normalised_as(chosen, inputs_from(saved["preprocess"]))
    if channels == len(trained.mean):
        return trained
    raise UserError(
        f"the model of {recipe.model.weights} takes {channels} channel(s), the pictures of recipe '{recipe.name}' have "
        f"{len(chosen.mean)}: --mean and --std need one value a channel"
    )


def _normalised_as(chosen: PictureInput, trained: PictureInput) -> PictureInput:
    """`chosen` with mean and std of `trained`, unless it has its own: others than ImageNet's."""
    has_own = (chosen.mean, chosen.std) != (PictureInput.mean, PictureInput.std)
    return chosen if has_own else replace(chosen, mean=trained.mean, std=trained.std)


def _differing(saved: dict[str, Any]) -> dict[str, Any]:
    """How the saved model differs from its published variant, as `ModelChoice.config`."""
    config = {key: value for key, value in saved["config"].items() if key not in FROM_PICTURES}
    for field in config.keys() & catalog.entry(saved["model"]).family.squares:
        if len(set(sizes := config[field])) == 1 and isinstance(sizes[0], tuple):
            config[field] = sizes[0]  # saved stage by stage, and the same for all
    return config


def _kept(model: ModelChoice, image_size: tuple[int, int], saved: dict[str, Any]) -> ModelChoice:
    """The choice with what training fixed in the weights, where a model of its own would have it otherwise."""
    family, before = catalog.entry(model.name).family, catalog.build_config(saved["model"], saved["config"])
    if catalog.entry(saved["model"]).family is not family:
        return model
    trained_size = inputs_from(saved["preprocess"]).image_size if saved["preprocess"] else None
    config = catalog.build_config(model.name, model.config)
    return model.with_config(**family.kept(config, image_size, before, trained_size))


def _tuples(value: Any) -> Any:
    """Lists, as JSON has them, to tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
