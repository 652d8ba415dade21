"""Whether a recipe says enough to start, and the model of its weights where it names none."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from muntin import catalog
from muntin.data import PictureInput, inputs_from
from muntin.errors import UserError
from muntin.models import SwinV2, SwinV2Config
from muntin.models.backbone import Backbone
from muntin.models.swin import effective_windows
from muntin.recipes.recipe import OVERRIDES, ModelChoice, Recipe
from muntin.weights.folder import read_config
from muntin.weights.load import weights_file

ADOPTED = ("gelu", "position_resample")  # fields that weights may decide


def resolve(recipe: Recipe) -> Recipe:
    """The recipe with a model, its weights' own where it names none, but for what the recipe sets itself.

    Mean and std come with weights of other channels than ImageNet's; the scale of the log-CPB with those of a Swin V2.
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
    recipe = replace(recipe, preprocess=_pictures(recipe, saved))
    if not model.name:
        model = replace(model, name=saved["model"], **(_overrides(saved) | _chosen(model)))
    return replace(recipe, model=_keep_scale(model, recipe.preprocess.image_size, saved))


def resolve_again(recipe: Recipe, begun: Recipe) -> Recipe:
    """The recipe for going on with a run that began as `begun`, with what its weights told then.

    The weights are not looked at, and may be gone: the run's checkpoints hold all that was taken from them.
    """
    model, told = recipe.model, begun.model
    if not model.weights:
        return recipe
    if not model.name:
        model = replace(model, name=told.name, **(_chosen(told) | _chosen(model)))
    model = replace(
        model,
        pretrained_window=model.pretrained_window or told.pretrained_window,
        fields=with_fields(told.fields, json.loads(model.fields or "{}")),
    )
    return replace(recipe, model=model, preprocess=_normalised_as(recipe.preprocess, begun.preprocess))


def with_settings(recipe: Recipe, backbone: Backbone) -> Recipe:
    """The recipe with what the weights told and no tensor of a checkpoint holds: the scale of a V2's log-CPB, a ViT's
    GELU and how its positions are resized.
    """
    model = recipe.model
    if not model.weights:
        return recipe
    if isinstance(backbone, SwinV2):
        scale = backbone.config.pretrained_window
        return (
            replace(recipe, model=replace(model, pretrained_window=tuple((h, w) for h, w in scale)))
            if scale
            else recipe
        )
    asked = catalog.build_config(model.name, model.config())
    adopted = {name: getattr(backbone.config, name) for name in ADOPTED if hasattr(asked, name)}
    adopted = {name: value for name, value in adopted.items() if value != getattr(asked, name)}
    return replace(recipe, model=replace(model, fields=with_fields(model.fields, adopted))) if adopted else recipe


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
    chosen, channels = recipe.preprocess, saved["config"].get("in_chans", 3)
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


def _chosen(model: ModelChoice) -> dict[str, Any]:
    """The fields of ModelChoice, out of `OVERRIDES`, that are set."""
    return {name: value for name in OVERRIDES if (value := getattr(model, name)) is not None}


def _overrides(saved: dict[str, Any]) -> dict[str, Any]:
    """How the saved model differs from its published variant, as fields of ModelChoice."""
    follow = ("in_chans", "grid")  # from the pictures
    overrides = {key: value for key, value in saved["config"].items() if key not in follow}
    if len(set(overrides.get("window", ()))) == 1 and isinstance(overrides["window"][0], tuple):
        overrides["window"] = overrides["window"][0]  # saved stage by stage, and the same for all
    others = {key: overrides.pop(key) for key in sorted(overrides.keys() - set(OVERRIDES))}
    return overrides | ({"fields": with_fields("", others)} if others else {})


def with_fields(text: str, more: dict[str, Any]) -> str:
    """`ModelChoice.fields` with more of them; as it was written where that changes nothing, so that runs resume."""
    before = json.loads(text or "{}")
    after = json.dumps(before | more)
    return text if after == json.dumps(before) else after


def _keep_scale(model: ModelChoice, image_size: tuple[int, int], saved: dict[str, Any]) -> ModelChoice:
    """Where a Swin V2 gets other windows than its weights were trained with, those stay the scale of its log-CPB."""
    config = catalog.build_config(model.name, model.config())
    before = catalog.build_config(saved["model"], saved["config"])
    if not isinstance(config, SwinV2Config) or not isinstance(before, SwinV2Config) or config.pretrained_window:
        return model
    trained = before.pretrained_window or effective_windows(before, inputs_from(saved["preprocess"]).image_size)
    same = len(trained) != len(config.depths) or trained == effective_windows(config, image_size)
    return model if same else replace(model, pretrained_window=tuple((h, w) for h, w in trained))


def _tuples(value: Any) -> Any:
    """Lists, as JSON has them, to tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
