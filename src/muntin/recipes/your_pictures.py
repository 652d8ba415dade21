"""Recipes for a folder of one's own, with hundreds to thousands of pictures: pre-train, train, fine-tune.

Defaults are for one GPU and pictures of 256 pixels; on a CPU take smaller ones, such as `--image-size 128 128`.
"""

from __future__ import annotations

from dataclasses import replace

from muntin.data import Augment, Preprocess
from muntin.engine import Optim, Schedule, Training
from muntin.tasks import ClassificationChoice, DistillationChoice, SimMIMChoice

from .recipe import About, DataChoice, ModelChoice, Recipe

MODEL = "swin_v2_tiny_window8"
PICTURES = Preprocess(image_size=(256, 256), crop_ratio=0.875, interpolation="bicubic")


def pretrain() -> Recipe:
    """Pre-train a Swin V2-T by SimMIM on a folder of pictures without labels."""
    return Recipe(
        name="pretrain",
        task=SimMIMChoice(mask_patch=32, mask_ratio=0.6, target_window=47),
        model=ModelChoice(name=MODEL),
        data=DataChoice(path=""),
        inputs=PICTURES,
        augment=Augment(crop="resized", crop_scale=(0.67, 1.0), flip=0.5),
        optim=Optim(lr=4e-4, lr_batch=64),
        schedule=Schedule(kind="cosine", epochs=300, warmup_epochs=10, warmup_lr=1e-6, min_lr=1e-5),
        training=Training(batch_size=64, workers=4, eval_every=10, save_every=10),
        about=About(
            paper="SimMIM, 2022, arXiv:2111.09886, sec. 4.1",
            command="muntin train pretrain --data FOLDER --out runs/pretrained",
            hardware="one GPU with 12 GB",
            expected="a falling loss and reconstructions that continue what is visible; see the report",
            notes="Then: muntin train finetune --data LABELLED --weights runs/pretrained",
        ),
    )


def train() -> Recipe:
    """Train a Swin V2-T from scratch on a labelled folder."""
    return Recipe(
        name="train",
        task=ClassificationChoice(),
        model=ModelChoice(name=MODEL, drop_path_rate=0.2),
        data=DataChoice(path=""),
        inputs=PICTURES,
        augment=Augment(
            crop="resized",
            crop_scale=(0.25, 1.0),
            flip=0.5,
            randaugment=9,
            erasing=0.25,
            cutmix=1.0,
            mixup=0.8,
            smoothing=0.1,
        ),
        optim=Optim(lr=5e-4, lr_batch=64),
        schedule=Schedule(kind="cosine", epochs=200, warmup_epochs=10, warmup_lr=1e-6, min_lr=1e-5),
        training=Training(batch_size=64, workers=4, save_every=5),
        about=About(
            paper="training as in Swin V2, 2022, arXiv:2111.09883, with a crop and batch for small data",
            command="muntin train train --data FOLDER --out runs/trained",
            hardware="one GPU with 12 GB",
            expected="depends on the data; `finetune` from pre-trained weights is nearly always better",
        ),
    )


def finetune() -> Recipe:
    """Fine-tune pre-trained weights (a `pretrain` run, a model folder, a weights file) on a labelled folder."""
    return Recipe(
        name="finetune",
        task=ClassificationChoice(),
        model=ModelChoice(name="", drop_path_rate=0.1, from_scratch=False),
        data=DataChoice(path=""),
        inputs=PICTURES,
        augment=Augment(crop="resized", crop_scale=(0.35, 1.0), flip=0.5, randaugment=9, erasing=0.25, smoothing=0.1),
        optim=Optim(lr=3e-4, lr_batch=64, layer_decay=0.85),
        schedule=Schedule(kind="cosine", epochs=50, warmup_epochs=5, warmup_lr=1e-7, min_lr=1e-6),
        training=Training(batch_size=64, workers=4),
        about=About(
            paper="layer decay as in SimMIM, 2022, arXiv:2111.09886, sec. 4.1",
            command="muntin train finetune --data FOLDER --weights runs/pretrained --out runs/finetuned",
            hardware="one GPU with 12 GB",
            expected="depends on the data",
            starts_from="a `pretrain` run, a model folder or a weights file",
            notes="A head for other classes is made anew. Weights without a config.json beside them need --model.",
        ),
    )


def distil() -> Recipe:
    """Train a DeiT-S on a labelled folder with the help of a teacher: any trained network for the same classes."""
    return replace(
        train(),
        name="distil",
        task=DistillationChoice(),
        model=ModelChoice(name="deit_small_distilled", drop_path_rate=0.1),
        inputs=replace(PICTURES, image_size=(224, 224)),
        about=About(
            paper="DeiT, 2020, arXiv:2012.12877, sec. 4: hard distillation through a token",
            command="muntin train distil --data FOLDER --teacher-weights runs/finetuned --out runs/distilled",
            hardware="one GPU with 12 GB",
            expected="depends on the data and the teacher",
            starts_from="a trained teacher, such as a `finetune` run of a larger model",
            notes="The teacher sees the student's pictures, on its own mean and standard deviation.",
        ),
    )
