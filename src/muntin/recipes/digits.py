"""Recipes for the built-in digits: a small Swin V2 that a laptop trains in minutes, and what the demo is made of."""

from __future__ import annotations

from dataclasses import replace

from muntin.data import Augment, Preprocess
from muntin.engine import Optim, Schedule, Training
from muntin.tasks import ClassificationChoice, DistillationChoice, SimMIMChoice

from .recipe import About, DataChoice, ModelChoice, Recipe

# 6 x 6 tokens in 2 x 2 windows, then 3 x 3 tokens in one: a small Swin with everything in it, shifted windows too.
MODEL = ModelChoice(
    name="swin_v2_tiny_window8",
    config={"patch": (4, 4), "dim": 48, "depths": (2, 2), "heads": (3, 6), "window": (3, 3)},
)
# A ConvNeXt on 6 x 6 tokens, and a DeiT on 4 x 4: the first knows of neighbourhoods and can teach the second.
CONVNEXT = ModelChoice(name="convnext_tiny", config={"dims": (32, 64), "depths": (2, 2)})
DEIT = ModelChoice(name="deit_tiny_distilled", config={"patch": (6, 6), "dim": 48, "depth": 3, "heads": 3})
# The 28 pixels of a digit without the two of its margin; mean and deviation of what is left.
PICTURES = Preprocess(image_size=(24, 24), crop_ratio=24 / 28, interpolation="bilinear", mean=(0.178,), std=(0.348,))
STRONG = Augment(rotate=12, translate=0.08, zoom=(0.9, 1.1), shear=8)  # no flip: digits have a left and a right
MILD = Augment(rotate=8, translate=0.04, zoom=(0.95, 1.05), shear=4)  # for runs of few epochs
OPTIM = Optim(lr=3e-3, weight_decay=0.05)
# One thread: on a model this small a second one gains a fifth, and costs far more as soon as it has to share its core.
TRAINING = Training(batch_size=50, workers=0, threads=1)
HARDWARE = "2 CPU cores"


def digits() -> Recipe:
    """A small Swin V2 on the built-in digits, from scratch: 98 % top-1 in minutes on two CPU cores."""
    return Recipe(
        name="digits",
        task=ClassificationChoice(),
        model=MODEL,
        data=DataChoice(path="digits"),
        inputs=PICTURES,
        augment=replace(STRONG, smoothing=0.1),
        optim=OPTIM,
        schedule=Schedule(kind="cosine", epochs=100, warmup_epochs=3, warmup_lr=1e-5, min_lr=1e-5),
        training=TRAINING,
        about=About(
            command="muntin train digits",
            hardware=HARDWARE,
            expected="98 % top-1 on the 1,000 held-out digits",
        ),
    )


def digits_simmim() -> Recipe:
    """SimMIM pre-training of the small Swin V2 on the 4,000 digits without their labels."""
    return Recipe(
        name="digits_simmim",
        task=SimMIMChoice(mask_patch=4, mask_ratio=0.6),
        model=MODEL,
        data=DataChoice(path="digits"),
        inputs=PICTURES,
        augment=MILD,
        optim=OPTIM,
        schedule=Schedule(kind="cosine", epochs=6, warmup_epochs=1, warmup_lr=1e-5, min_lr=1e-5),
        training=replace(TRAINING, eval_every=0, save_every=0),
        about=About(
            paper="SimMIM, 2022, arXiv:2111.09886",
            command="muntin train digits_simmim --out runs/digits_simmim",
            hardware=HARDWARE,
            expected="strokes continued through the masked squares",
            notes="Then: muntin train digits_finetune --weights runs/digits_simmim",
        ),
    )


def digits_finetune() -> Recipe:
    """Fine-tune the small Swin V2 on the digits from its SimMIM weights."""
    return replace(
        digits(),
        name="digits_finetune",
        model=replace(MODEL, from_scratch=False),
        augment=replace(MILD, smoothing=0.1),
        schedule=Schedule(kind="cosine", epochs=16, warmup_epochs=1, warmup_lr=1e-5, min_lr=1e-5),
        training=replace(TRAINING, eval_every=0, save_every=0),
        about=About(
            command="muntin train digits_finetune --weights runs/digits_simmim",
            hardware=HARDWARE,
            expected="97 % top-1 on the 1,000 held-out digits",
            starts_from="a run of digits_simmim",
        ),
    )


def digits_teacher() -> Recipe:
    """A small ConvNeXt on the built-in digits, from scratch, to teach others."""
    short = digits_finetune()
    return replace(
        short,
        name="digits_teacher",
        model=CONVNEXT,
        schedule=replace(short.schedule, epochs=12),
        about=About(
            command="muntin train digits_teacher --out runs/digits_teacher",
            hardware=HARDWARE,
            expected="95 % top-1 on the 1,000 held-out digits",
            notes="Then: muntin train digits_distil --teacher-weights runs/digits_teacher",
        ),
    )


def digits_distil() -> Recipe:
    """A small distilled DeiT on the built-in digits, taught by the small ConvNeXt."""
    return replace(
        digits_teacher(),
        name="digits_distil",
        task=DistillationChoice(imitate="hard", token=True, alpha=0.5),
        model=DEIT,
        about=About(
            paper="DeiT, 2020, arXiv:2012.12877, sec. 4: hard distillation through a token",
            command="muntin train digits_distil --teacher-weights runs/digits_teacher --out runs/digits_distil",
            hardware=HARDWARE,
            expected="92 % top-1 on the 1,000 held-out digits",
            starts_from="a teacher: a run of digits_teacher",
            notes="benchmarks/distil_digits.py compares it with other ways of learning",
        ),
    )
