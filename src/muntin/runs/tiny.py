"""The tiny twin of a recipe: the same code on a few digits, in seconds on any machine."""

from __future__ import annotations

from dataclasses import replace

from muntin import catalog
from muntin.recipes import ModelChoice, Recipe

SIDE = 32  # pixels
PICTURES = 60
REPEATED = 256  # pictures of an epoch that repeats them: whole blocks of this many


def tiny(recipe: Recipe) -> Recipe:
    """A recipe with the same task, model family, augmentation, optimizer and schedule, but with very little to compute.

    It has two epochs of `PICTURES` digits of 32 x 32 pixels, and the family's small model. If weights are needed and
    missing, it starts from scratch; a missing teacher is an untrained one.
    """
    schedule, training = recipe.schedule, recipe.training
    return replace(
        recipe,
        name=f"{recipe.name}_tiny",
        task=recipe.task.tiny(),
        model=_model(recipe.model),
        data=replace(recipe.data, path="digits", limit=PICTURES if recipe.augment.repeats == 1 else REPEATED),
        inputs=replace(recipe.inputs, image_size=(SIDE, SIDE)),
        schedule=replace(
            schedule,
            epochs=2,
            updates=0,
            warmup_epochs=0.5 if schedule.warmup_epochs or schedule.warmup_updates else 0,
            warmup_updates=0,
            milestones=schedule.milestones and (1,),
        ),
        training=replace(training, batch_size=20 * training.accumulate, workers=0, compile=False, threads=1),
    )


def _model(choice: ModelChoice) -> ModelChoice:
    """The small model, with the choice's fields that are not sizes."""
    name = choice.name or "swin_v2_tiny_window8"
    family = catalog.entry(name).family
    small = family.small_form(catalog.build_config(name, choice.config))
    small.pop(family.grid, None)  # follows the pictures
    return replace(choice, name=name, from_scratch=True).with_config(**small)
