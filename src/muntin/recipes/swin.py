"""Swin Transformer (Liu et al., 2021, arXiv:2103.14030): ImageNet-1K from scratch, and from 224 to 384.

Values: configs/swin and config.py of the official code. Learning rates are written for 512 pictures, as there, and
scale with the batch: 5e-4 becomes 1e-3 at the paper's 1,024.
"""

from __future__ import annotations

from dataclasses import replace

from muntin.engine import Optim, Schedule

from .imagenet import FP16, PICTURES, classification, command
from .recipe import About, ModelChoice, Recipe

PAPER = "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows, 2021, arXiv:2103.14030"


def imagenet(model: ModelChoice, *, image_size: int, expected: str, name: str = "", paper: str = PAPER) -> Recipe:
    """The 300 epochs from scratch that Swin (at 224 pixels) and Swin V2 (at 256) share; `name`: the model's."""
    name = name or model.name
    return classification(
        model,
        name=name,
        inputs=replace(PICTURES, image_size=(image_size, image_size)),
        optim=Optim(lr=5e-4, lr_batch=512, weight_decay=0.05, betas=(0.9, 0.999), eps=1e-8, clip_grad=5.0),
        schedule=Schedule(kind="cosine", epochs=300, warmup_epochs=20, warmup_lr=5e-7, min_lr=5e-6, warmup_prefix=True),
        batch_size=1024,
        about=About(
            paper=paper,
            command=command(name),
            hardware="official: 8 GPUs, 128 pictures each",
            expected=expected,
            notes=FP16,
        ),
    )


def swin_tiny() -> Recipe:
    """Swin-T on ImageNet-1K at 224, 300 epochs from scratch: 81.2 top-1."""
    return imagenet(ModelChoice(name="swin_tiny", drop_path_rate=0.2), image_size=224, expected=published(81.2, 95.5))


def swin_small() -> Recipe:
    """Swin-S on ImageNet-1K at 224, 300 epochs from scratch: 83.2 top-1."""
    return imagenet(ModelChoice(name="swin_small", drop_path_rate=0.3), image_size=224, expected=published(83.2, 96.2))


def swin_base() -> Recipe:
    """Swin-B on ImageNet-1K at 224, 300 epochs from scratch: 83.5 top-1."""
    return imagenet(ModelChoice(name="swin_base", drop_path_rate=0.5), image_size=224, expected=published(83.5, 96.5))


def swin_tiny_c24() -> Recipe:
    """Swin-T with 24 channels a head on ImageNet-1K at 256, 300 epochs from scratch: 81.6 top-1."""
    return imagenet(
        ModelChoice(name="swin_tiny_c24", drop_path_rate=0.2), image_size=256, expected=published(81.6, 95.7)
    )


def swin_base_finetune_384() -> Recipe:
    """Swin-B at 384 with window 12, 30 epochs from its weights of 224: 84.5 top-1."""
    return finetuning(
        "swin_base_finetune_384",
        ModelChoice(name="swin_base_window12", drop_path_rate=0.5, from_scratch=False),
        image_size=384,
        weights="runs/swin_base",
        starts_from="a run of swin_base, or swin_base_patch4_window7_224.pth of the official hub",
        expected=published(84.5, 97.0),
    )


def finetuning(
    name: str,
    model: ModelChoice,
    *,
    image_size: int,
    weights: str,
    starts_from: str,
    expected: str,
    paper: str = PAPER,
    notes: str = "",
) -> Recipe:
    """The 30 epochs on ImageNet-1K from trained weights that Swin and Swin V2 share. At 384 pixels nothing is cropped.

    `weights` is what its command says after --weights.
    """
    base = imagenet(model, image_size=image_size, expected=expected, name=name, paper=paper)
    return replace(
        base,
        inputs=replace(base.inputs, crop_ratio=0.0) if image_size == 384 else base.inputs,
        optim=replace(base.optim, lr=2e-5, weight_decay=1e-8),
        schedule=replace(base.schedule, epochs=30, warmup_epochs=5, warmup_lr=2e-8, min_lr=2e-7),
        about=replace(
            base.about,
            command=f"{base.about.command} --weights {weights}",
            hardware="official: 8 GPUs, 64 pictures each and two micro-steps; --checkpointing for less memory",
            starts_from=starts_from,
            notes=f"{base.about.notes} {notes}".rstrip(),
        ),
    )


def published(top1: float, top5: float) -> str:
    return f"top-1 {top1} %, top-5 {top5} % on the ImageNet-1K validation set (official model hub)"
