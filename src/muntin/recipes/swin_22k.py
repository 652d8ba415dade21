"""Swin Transformer (Liu et al., 2021, arXiv:2103.14030) on ImageNet-22K, and from there to ImageNet-1K.

Values: configs/swin/*_22k.yaml and *_22kto1k_finetune.yaml of the official code. Learning rates are written for 512
pictures, as there: 1.25e-4 becomes 1e-3 at the batch of 4,096.
"""

from __future__ import annotations

from dataclasses import replace

from .imagenet import CLASSES_22K, command
from .recipe import ModelChoice, Recipe
from .swin import PAPER, finetuning, imagenet, published

AT_224 = {  # stochastic depth on 22K and 1K; top-1 and top-5 after both
    "swin_tiny": (0.1, 80.9, 96.0),
    "swin_small": (0.2, 83.2, 97.0),
    "swin_base": (0.2, 85.2, 97.5),
    "swin_large": (0.2, 86.3, 97.9),
}
HEAD = "The official head keeps the rows of its 1,000 classes: --class-map FILE names them; without it the head is new."


def swin_tiny_22k() -> Recipe:
    """Swin-T on ImageNet-22K at 224, 90 epochs from scratch: 80.9 top-1 after fine-tuning on 1K."""
    return _pretraining("swin_tiny")


def swin_small_22k() -> Recipe:
    """Swin-S on ImageNet-22K at 224, 90 epochs from scratch: 83.2 top-1 after fine-tuning on 1K."""
    return _pretraining("swin_small")


def swin_base_22k() -> Recipe:
    """Swin-B on ImageNet-22K at 224, 90 epochs from scratch: 85.2 top-1 after fine-tuning on 1K."""
    return _pretraining("swin_base")


def swin_large_22k() -> Recipe:
    """Swin-L on ImageNet-22K at 224, 90 epochs from scratch: 86.3 top-1 after fine-tuning on 1K."""
    return _pretraining("swin_large")


def swin_tiny_22k_finetune() -> Recipe:
    """Swin-T at 224, 30 epochs on 1K from its weights of ImageNet-22K: 80.9 top-1."""
    return _at_224("swin_tiny")


def swin_small_22k_finetune() -> Recipe:
    """Swin-S at 224, 30 epochs on 1K from its weights of ImageNet-22K: 83.2 top-1."""
    return _at_224("swin_small")


def swin_base_22k_finetune() -> Recipe:
    """Swin-B at 224, 30 epochs on 1K from its weights of ImageNet-22K: 85.2 top-1."""
    return _at_224("swin_base")


def swin_large_22k_finetune() -> Recipe:
    """Swin-L at 224, 30 epochs on 1K from its weights of ImageNet-22K: 86.3 top-1."""
    return _at_224("swin_large")


def swin_base_22k_finetune_384() -> Recipe:
    """Swin-B at 384 with window 12, 30 epochs on 1K from weights of ImageNet-22K: 86.4 top-1."""
    return _at_384("swin_base", expected=published(86.4, 98.0))


def swin_large_22k_finetune_384() -> Recipe:
    """Swin-L at 384 with window 12, 30 epochs on 1K from weights of ImageNet-22K: 87.3 top-1."""
    return _at_384("swin_large", expected=published(87.3, 98.2))


def pretraining(
    name: str,
    model: ModelChoice,
    *,
    after: str,
    image_size: int = 224,
    weight_decay: float = 0.05,
    paper: str = PAPER,
) -> Recipe:
    """The 90 epochs on ImageNet-22K that Swin and Swin V2 share; `after` is what fine-tuning on 1K then gives."""
    base = imagenet(model, image_size=image_size, expected=f"after fine-tuning on 1K, {after}", name=name, paper=paper)
    return replace(
        base,
        optim=replace(base.optim, lr=1.25e-4, weight_decay=weight_decay),
        schedule=replace(base.schedule, epochs=90, warmup_epochs=5, warmup_lr=1.25e-7, min_lr=1.25e-6),
        training=replace(base.training, batch_size=4096),
        about=replace(
            base.about,
            command=command(name, data="IMAGENET_22K", options="--accumulate 8"),
            hardware="official: a batch of 4,096; for instance 8 GPUs, 64 pictures each and eight micro-steps",
            notes=f"{base.about.notes} {CLASSES_22K}",
        ),
    )


def _pretraining(model: str) -> Recipe:
    drop_path_rate, *after = AT_224[model]
    return pretraining(f"{model}_22k", ModelChoice(name=model, drop_path_rate=drop_path_rate), after=published(*after))


def _at_224(model: str) -> Recipe:
    drop_path_rate, *expected = AT_224[model]
    return finetuning(
        f"{model}_22k_finetune",
        ModelChoice(name=model, drop_path_rate=drop_path_rate, from_scratch=False),
        image_size=224,
        weights=f"runs/{model}_22k --class-map FILE",
        starts_from=f"a run of {model}_22k, or {model}_patch4_window7_224_22k.pth of the official hub",
        expected=published(*expected),
        notes=HEAD,
    )


def _at_384(model: str, *, expected: str) -> Recipe:
    """From weights of 384 and window 12 whose own training was not published; those of 224 are adapted to it."""
    file = f"{model}_patch4_window12_384_22k.pth"
    return finetuning(
        f"{model}_22k_finetune_384",
        ModelChoice(name=f"{model}_window12", drop_path_rate=0.2, from_scratch=False),
        image_size=384,
        weights=f"{file} --class-map FILE",
        starts_from=f"{file} of the official hub (how it was made is not published)",
        expected=expected,
        notes=f"{HEAD} A run of {model}_22k serves too; its bias tables are resized.",
    )
