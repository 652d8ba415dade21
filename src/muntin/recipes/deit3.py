"""DeiT III (Touvron et al., 2022, arXiv:2204.07118): ImageNet-1K from scratch, and over ImageNet-21K.

Values: the commands of README_revenge.md of the official repository. Rates are for the official batches and do not
follow other ones. Large models learn on small pictures first and are fine-tuned at 224, then at 384.
"""

from __future__ import annotations

from dataclasses import replace

from muntin.data import Augment
from muntin.engine import Optim
from muntin.tasks import ClassificationChoice

from .deit import SCHEDULE as DEIT_SCHEDULE
from .imagenet import AUGMENT, FP16, PICTURES, classification, command, starting_from, top1
from .recipe import About, ModelChoice, Recipe

PAPER = "DeiT III: Revenge of the ViT, 2022, arXiv:2204.07118"
WHOLE = replace(PICTURES, crop_ratio=1.0)
SCHEDULE = replace(DEIT_SCHEDULE, warmup_lr=1e-6, min_lr=1e-5)
THREE_AUGMENT = Augment(
    crop="resized", flip=0.5, three_augment=True, color_jitter=0.3, mixup=0.8, cutmix=1.0, repeats=3
)
SIMPLE = replace(THREE_AUGMENT, crop="simple", mixup=0.0, smoothing=0.1, repeats=1)
NOTES = f"{FP16} The official code keeps an EMA (0.99996) beside the weights, but evaluates the weights."
AT_384_FROM_21K = "The repository shows the commands at 384 after 1K alone; those after 21K are taken to be the same."
BATCH_21K = "With a batch of 4,096 the official rate is 1.5e-3."


def deit3_small() -> Recipe:
    """DeiT III-S on ImageNet-1K at 224, 800 epochs from scratch: 81.4 top-1."""
    return _imagenet("deit3_small", 224, 0.05, top1(81.4), lr=4e-3)


def deit3_base() -> Recipe:
    """DeiT III-B on ImageNet-1K at 192, 800 epochs from scratch: 83.8 top-1 after fine-tuning at 224."""
    return _imagenet("deit3_base", 192, 0.2, _after(83.8))


def deit3_large() -> Recipe:
    """DeiT III-L on ImageNet-1K at 192, 800 epochs from scratch: 84.9 top-1 after fine-tuning at 224."""
    return _imagenet("deit3_large", 192, 0.45, _after(84.9))


def deit3_huge() -> Recipe:
    """DeiT III-H on ImageNet-1K at 160, 800 epochs from scratch: 85.2 top-1 after fine-tuning at 224."""
    return _imagenet("deit3_huge", 160, 0.6, _after(85.2))


def deit3_base_finetune() -> Recipe:
    """DeiT III-B at 224, 20 epochs from its weights of 192: 83.8 top-1."""
    return _larger("deit3_base", "deit3_base_finetune", 224, 0.2, 83.8)


def deit3_large_finetune() -> Recipe:
    """DeiT III-L at 224, 20 epochs from its weights of 192: 84.9 top-1."""
    return _larger("deit3_large", "deit3_large_finetune", 224, 0.45, 84.9)


def deit3_huge_finetune() -> Recipe:
    """DeiT III-H at 224, 20 epochs from its weights of 160: 85.2 top-1."""
    return _larger("deit3_huge", "deit3_huge_finetune", 224, 0.55, 85.2)


def deit3_small_finetune_384() -> Recipe:
    """DeiT III-S at 384, 20 epochs from its weights of 224: 83.4 top-1."""
    return _larger("deit3_small", "deit3_small_finetune_384", 384, 0.0, 83.4)


def deit3_base_finetune_384() -> Recipe:
    """DeiT III-B at 384, 20 epochs from its weights of 224: 85.0 top-1."""
    return _larger("deit3_base_finetune", "deit3_base_finetune_384", 384, 0.15, 85.0)


def deit3_large_finetune_384() -> Recipe:
    """DeiT III-L at 384, 20 epochs from its weights of 224: 85.8 top-1."""
    return _larger("deit3_large_finetune", "deit3_large_finetune_384", 384, 0.4, 85.8)


def deit3_small_21k() -> Recipe:
    """DeiT III-S on ImageNet-21K at 224, 240 epochs from scratch: 83.1 top-1 after fine-tuning on 1K."""
    return _imagenet_21k("deit3_small", 0.05, 83.1)


def deit3_base_21k() -> Recipe:
    """DeiT III-B on ImageNet-21K at 224, 240 epochs from scratch: 85.7 top-1 after fine-tuning on 1K."""
    return _imagenet_21k("deit3_base", 0.1, 85.7)


def deit3_large_21k() -> Recipe:
    """DeiT III-L on ImageNet-21K at 224, 240 epochs from scratch: 87.0 top-1 after fine-tuning on 1K."""
    return _imagenet_21k("deit3_large", 0.3, 87.0)


def deit3_huge_21k() -> Recipe:
    """DeiT III-H on ImageNet-21K at 128, 90 epochs from scratch: 87.2 top-1 after fine-tuning on 1K."""
    return _imagenet_21k("deit3_huge", 0.5, 87.2, image_size=128, epochs=90)


def deit3_small_21k_finetune() -> Recipe:
    """DeiT III-S at 224, 50 epochs on 1K from its weights of ImageNet-21K: 83.1 top-1."""
    return _from_21k("deit3_small", 0.05, 83.1)


def deit3_base_21k_finetune() -> Recipe:
    """DeiT III-B at 224, 50 epochs on 1K from its weights of ImageNet-21K: 85.7 top-1."""
    return _from_21k("deit3_base", 0.15, 85.7)


def deit3_large_21k_finetune() -> Recipe:
    """DeiT III-L at 224, 50 epochs on 1K from its weights of ImageNet-21K: 87.0 top-1."""
    return _from_21k("deit3_large", 0.4, 87.0)


def deit3_huge_21k_finetune() -> Recipe:
    """DeiT III-H at 224, 50 epochs on 1K from its weights of ImageNet-21K: 87.2 top-1."""
    return _from_21k("deit3_huge", 0.45, 87.2)


def deit3_small_21k_finetune_384() -> Recipe:
    """DeiT III-S at 384, 20 epochs on 1K from its fine-tuned weights of ImageNet-21K: 84.8 top-1."""
    return _larger("deit3_small_21k_finetune", "deit3_small_21k_finetune_384", 384, 0.0, 84.8)


def deit3_base_21k_finetune_384() -> Recipe:
    """DeiT III-B at 384, 20 epochs on 1K from its fine-tuned weights of ImageNet-21K: 86.7 top-1."""
    return _larger("deit3_base_21k_finetune", "deit3_base_21k_finetune_384", 384, 0.15, 86.7)


def deit3_large_21k_finetune_384() -> Recipe:
    """DeiT III-L at 384, 20 epochs on 1K from its fine-tuned weights of ImageNet-21K: 87.7 top-1."""
    return _larger("deit3_large_21k_finetune", "deit3_large_21k_finetune_384", 384, 0.4, 87.7)


def _imagenet(model: str, image_size: int, drop_path_rate: float, expected: str, *, lr: float = 3e-3) -> Recipe:
    """apex's LAMB, which the official code takes, clips the norm of all gradients to 1 by itself."""
    return classification(
        ModelChoice(name=model, drop_path_rate=drop_path_rate),
        inputs=replace(WHOLE, image_size=(image_size, image_size)),
        augment=THREE_AUGMENT,
        loss="binary_cross_entropy",
        optim=Optim(kind="lamb", lr=lr, weight_decay=0.05, clip_grad=1.0),
        schedule=replace(SCHEDULE, epochs=800),
        batch_size=2048,
        about=About(
            paper=PAPER,
            command=command(model),
            hardware="official: 8 GPUs, 256 pictures each (L, H: 32 GPUs, 64 each; on 8, --accumulate 4)",
            expected=expected,
            notes=NOTES,
        ),
    )


def _imagenet_21k(
    model: str, drop_path_rate: float, percent: float, *, image_size: int = 224, epochs: int = 240
) -> Recipe:
    name = f"{model}_21k"
    base = _imagenet(model, image_size, drop_path_rate, _after(percent, "on 1K"), lr=1e-3)
    return replace(
        base,
        name=name,
        augment=SIMPLE,
        task=ClassificationChoice(),
        optim=replace(base.optim, weight_decay=0.02),
        schedule=replace(SCHEDULE, epochs=epochs),
        about=replace(
            base.about,
            command=command(name, data="IMAGENET_21K", options="--accumulate 4"),
            hardware="official: 32 GPUs, 64 pictures each (S: 16 GPUs, 128 each); on 8, four micro-steps",
            notes=f"{NOTES} {BATCH_21K}",
        ),
    )


def _from_21k(model: str, drop_path_rate: float, percent: float) -> Recipe:
    """As on 21K, for 50 epochs at 0.3 of the rate."""
    base, name = _imagenet_21k(model, drop_path_rate, percent, epochs=50), f"{model}_21k_finetune"
    recipe = replace(
        base,
        name=name,
        optim=replace(base.optim, lr=3e-4),
        about=replace(base.about, command=command(name, options="--accumulate 4"), expected=top1(percent), notes=NOTES),
    )
    return starting_from(recipe, f"{model}_21k", "the paper's own, which were published after fine-tuning only")


def _larger(pretraining: str, name: str, image_size: int, drop_path_rate: float, percent: float) -> Recipe:
    """20 epochs of AdamW with RandAugment; after the warm-up the rate does not move, since it ends where it starts."""
    model = "_".join(name.split("_")[:2])
    recipe = classification(
        ModelChoice(name=model, drop_path_rate=drop_path_rate),
        name=name,
        inputs=replace(WHOLE, image_size=(image_size, image_size)),
        augment=replace(AUGMENT, erasing=0.0),
        optim=Optim(lr=1e-5, weight_decay=0.1, clip_grad=0.0),
        schedule=replace(SCHEDULE, epochs=20),
        batch_size=512,
        about=About(
            paper=PAPER,
            command=command(name),
            hardware="official: a batch of 512 on 8 GPUs (B at 384 and H: 16, L at 384: 32)",
            expected=top1(percent),
            notes=f"{NOTES} {AT_384_FROM_21K}" if "21k" in name else NOTES,
        ),
    )
    file = (
        f"deit_3_{model.removeprefix('deit3_')}_224_{'21k' if '21k' in name else '1k'}.pth of the official repository"
    )
    return starting_from(recipe, pretraining, file if image_size == 384 else "the paper's own, not published")


def _after(percent: float, where: str = "at 224") -> str:
    return f"after fine-tuning {where}, {top1(percent)}"
