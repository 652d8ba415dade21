"""The teacher of a distillation: found, loaded, compared with the data, and shown pictures on its own scale."""

from __future__ import annotations

import torch
from torch import nn

from muntin import catalog
from muntin.data import inputs_from
from muntin.errors import UserError
from muntin.files import config_beside
from muntin.recipes.recipe import Recipe
from muntin.tasks import Renormalised
from muntin.weights.create import create_model
from muntin.weights.folder import load_model
from muntin.weights.load import weights_file
from muntin.weights.rewrite import numbered


def find_teacher(recipe: Recipe, classes: tuple[str, ...]) -> tuple[nn.Module, str]:
    """The teacher that a recipe names, for pictures as its student gets them, and who that is, in words.

    A model folder or run folder tells its model, its classes and its normalisation; where that is another than the
    recipe's, pictures are brought to it. A bare file needs a model's name and counts as trained on the recipe's
    normalisation. The size of the pictures is the student's: a teacher is asked about the very same ones.
    Raises UserError where nobody is named, where classes or channels differ, and where weights do not fit.
    """
    choice = recipe.distillation
    if choice.teacher_weights:
        try:
            beside = config_beside(weights_file(choice.teacher_weights))
        except UserError as error:
            raise UserError(f"the teacher cannot be had: {error}") from None
        return _saved(recipe, classes) if beside is not None else _bare(recipe, classes)
    if not choice.untrained_teacher:
        raise UserError(
            f"the recipe '{recipe.name}' learns from a teacher: give --teacher-weights RUN_OR_FILE (and --teacher NAME "
            "where that is a bare file), or say --untrained-teacher for a trial"
        )
    if not choice.teacher:
        raise UserError("an untrained teacher needs a name: --teacher NAME (`muntin models` lists them)")
    return _named(recipe, len(classes)), f"{choice.teacher}, untrained"


def _saved(recipe: Recipe, classes: tuple[str, ...]) -> tuple[nn.Module, str]:
    place, asked = recipe.distillation.teacher_weights, recipe.distillation.teacher
    saved = load_model(place)
    if asked and catalog.entry(asked).name != saved.name:
        raise UserError(f"{place} holds a {saved.name} and not a {asked}; leave --teacher out")
    _check_classes(saved.classes, classes, place)
    theirs, ours = inputs_from(saved.preprocess), recipe.preprocess
    if len(theirs.mean) != len(ours.mean):
        raise UserError(
            f"the teacher of {place} takes {len(theirs.mean)} channel(s) and the student gets {len(ours.mean)}; give "
            "--mean and --std as many values as the teacher has channels"
        )
    if (theirs.mean, theirs.std) == (ours.mean, ours.std):
        return saved.model, f"{saved.name} of {place}"
    network = Renormalised(saved.model, (ours.mean, ours.std), (theirs.mean, theirs.std))
    return network, f"{saved.name} of {place}, shown pictures with its own mean {theirs.mean} and std {theirs.std}"


def _bare(recipe: Recipe, classes: tuple[str, ...]) -> tuple[nn.Module, str]:
    name, file = recipe.distillation.teacher, recipe.distillation.teacher_weights
    if not name:
        raise UserError(f"{file} has no config.json beside it: say which model the weights are of, --teacher NAME")
    try:
        return _named(recipe, len(classes), file), f"{name} of {file}"
    except UserError as error:
        raise UserError(f"the teacher for {len(classes)} classes cannot be had: {error}") from None


def _named(recipe: Recipe, classes: int, file: str | None = None) -> nn.Module:
    """A model of the catalog for the recipe's pictures; untrained ones are drawn from the recipe's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        return create_model(
            recipe.distillation.teacher, num_classes=classes, weights=file, in_chans=len(recipe.preprocess.mean)
        )


def _check_classes(theirs: tuple[str, ...], ours: tuple[str, ...], place: str) -> None:
    """The same names in the same order; a converted teacher whose classes are mere numbers needs as many."""
    if len(theirs) != len(ours):
        raise UserError(f"the teacher of {place} knows {len(theirs)} classes and the data has {len(ours)}")
    first = next(((a, b) for a, b in zip(theirs, ours) if a != b), None)
    if first and theirs != numbered(len(theirs)):
        raise UserError(
            f"the teacher of {place} knows other classes than the data has, or another order: '{first[0]}' is where "
            f"the data has '{first[1]}'; take a teacher that was trained on the same classes"
        )
