"""The tiny twin of a recipe: the same code on a few digits, in seconds on any machine."""

from __future__ import annotations

from dataclasses import replace

from muntin import catalog

from .recipe import ModelChoice, Recipe

SIDE = 32  # pixels
PICTURES = 60


def tiny(recipe: Recipe) -> Recipe:
    """A recipe with the same task, model family, augmentation, optimizer and schedule, and next to nothing to do.

    Two epochs of `PICTURES` digits of 32 x 32 pixels, for a model of two small stages with windows of 4 x 4 patches.
    What needs weights and has none starts from scratch.
    """
    masking, schedule, training = recipe.masking, recipe.schedule, recipe.training
    return replace(
        recipe,
        name=f"{recipe.name}_tiny",
        model=_model(recipe.model),
        data=replace(recipe.data, path="digits", limit=PICTURES),
        preprocess=replace(recipe.preprocess, image_size=(SIDE, SIDE)),
        masking=replace(masking, mask_patch=8, target_window=min(masking.target_window, 7)),
        schedule=replace(
            schedule,
            epochs=2,
            warmup_epochs=0.5 if schedule.warmup_epochs else 0,
            milestones=schedule.milestones and (1,),
        ),
        training=replace(training, batch_size=20 * training.accumulate, workers=0, compile=False, threads=1),
    )


def _model(choice: ModelChoice) -> ModelChoice:
    """A log-CPB that keeps the scale of smaller windows does so here, too."""
    name = choice.name or "swin_v2_tiny_window8"
    published = getattr(catalog.entry(name).config, "pretrained_window", None)
    return replace(
        choice,
        name=name,
        from_scratch=True,
        patch=(4, 4),
        dim=16,
        depths=(2, 2),
        heads=(1, 2),
        window=(4, 4),
        pretrained_window=((3, 3), (3, 3)) if choice.pretrained_window or published else None,
    )
