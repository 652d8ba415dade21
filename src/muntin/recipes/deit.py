"""DeiT (Touvron et al., 2020, arXiv:2012.12877): ImageNet-1K alone and with a teacher, then from 224 to 384.

Values: the defaults of the official main.py, which are the paper's table 9. Learning rates are written for 512
pictures, as there: 5e-4 becomes 1e-3 at the batch of 1,024. The official warm-up and final rates do not follow the
batch; those here do, and are the official ones at the paper's batch.
"""

from __future__ import annotations

from dataclasses import replace

from muntin.engine import Optim, Schedule
from muntin.tasks import DistillationChoice

from .imagenet import AUGMENT, FP16, PICTURES_384, classification, command, starting_from, top1
from .recipe import About, ModelChoice, Recipe

PAPER = "Training data-efficient image transformers & distillation through attention, 2020, arXiv:2012.12877"
# the rate moves after each epoch and one epoch late, so the first two epochs have the rate of the warm-up's start
SCHEDULE = Schedule(
    kind="cosine",
    clock="late_epoch",
    epochs=300,
    warmup_epochs=5,
    warmup_lr=5e-7,
    min_lr=5e-6,
    warmup_prefix=False,
)
NOTES = f"{FP16} The official code keeps an EMA (0.99996) beside the weights, and publishes the latter."
TEACHER = (
    "Give the teacher: --teacher-weights RUN_OR_FILE. The paper's, a RegNetY-16GF of 82.9 % top-1 trained by this very "
    "recipe, is no model of muntin; another teacher, another number (table 2: 81.9 to 83.1 % for DeiT-B)."
)
NEEDS_TEACHER = "the paper's teacher: RegNetY-16GF (regnety_160), 82.9 %"


def deit_tiny() -> Recipe:
    """DeiT-Ti on ImageNet-1K at 224, 300 epochs from scratch: 72.2 top-1."""
    return _imagenet("deit_tiny", 72.2)


def deit_small() -> Recipe:
    """DeiT-S on ImageNet-1K at 224, 300 epochs from scratch: 79.9 top-1."""
    return _imagenet("deit_small", 79.9)


def deit_base() -> Recipe:
    """DeiT-B on ImageNet-1K at 224, 300 epochs from scratch: 81.8 top-1."""
    return _imagenet("deit_base", 81.8)


def deit_base_finetune_384() -> Recipe:
    """DeiT-B at 384, 30 epochs from its weights of 224: 82.9 top-1."""
    return _at_384("deit_base", top1(82.9, "official repository; paper: 83.1"))


def deit_tiny_distilled() -> Recipe:
    """DeiT-Ti on ImageNet-1K at 224, 300 epochs with a teacher, through a token: 74.5 top-1."""
    return _taught(_imagenet("deit_tiny_distilled", 74.5))


def deit_small_distilled() -> Recipe:
    """DeiT-S on ImageNet-1K at 224, 300 epochs with a teacher, through a token: 81.2 top-1."""
    return _taught(_imagenet("deit_small_distilled", 81.2))


def deit_base_distilled() -> Recipe:
    """DeiT-B on ImageNet-1K at 224, 300 epochs with a teacher, through a token: 83.4 top-1."""
    return _taught(_imagenet("deit_base_distilled", 83.4))


def deit_base_distilled_finetune_384() -> Recipe:
    """DeiT-B at 384 with its teacher, 30 epochs from its distilled weights of 224: 84.5 top-1."""
    recipe = _taught(_at_384("deit_base_distilled", top1(84.5, "table 3; 85.2 % after 1,000 epochs at 224")))
    notes = f"{recipe.about.notes} Teacher and student both see 384 pixels; the official code cannot do this step."
    return replace(recipe, about=replace(recipe.about, notes=notes))


def _imagenet(model: str, percent: float) -> Recipe:
    return classification(
        ModelChoice(name=model, drop_path_rate=0.1),
        augment=replace(AUGMENT, repeats=3),
        optim=Optim(lr=5e-4, lr_batch=512, weight_decay=0.05, clip_grad=0.0),
        schedule=SCHEDULE,
        batch_size=1024,
        about=About(
            paper=PAPER,
            command=command(model),
            hardware="official: 8 GPUs, 128 pictures each",
            expected=top1(percent),
            notes=NOTES,
        ),
    )


def _at_384(model: str, expected: str) -> Recipe:
    """30 epochs; after its warm-up the official rate does not move, since it ends where it starts."""
    base, name = _imagenet(model, 0), f"{model}_finetune_384"
    about = replace(
        base.about, command=command(name, gpus=16), hardware="official: 16 GPUs, 32 pictures each", expected=expected
    )
    recipe = replace(
        base,
        name=name,
        inputs=PICTURES_384,
        optim=replace(base.optim, lr=5e-6, weight_decay=1e-8),
        schedule=replace(SCHEDULE, epochs=30, warmup_lr=1e-6, min_lr=5e-6),
        training=replace(base.training, batch_size=512),
        about=about,
    )
    return starting_from(recipe, model, f"{model}_patch16_224 of the official repository")


def _taught(recipe: Recipe) -> Recipe:
    """With hard distillation through a token, by a teacher yet to be named."""
    about = recipe.about
    needs = f"{about.starts_from}, and {NEEDS_TEACHER}" if about.starts_from else NEEDS_TEACHER
    return replace(
        recipe,
        task=DistillationChoice(imitate="hard", token=True, alpha=0.5),
        about=replace(
            about,
            command=f"{about.command} --teacher-weights TEACHER",
            starts_from=needs,
            notes=f"{about.notes} {TEACHER}",
        ),
    )
