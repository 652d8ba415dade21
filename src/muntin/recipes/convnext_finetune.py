"""ConvNeXt (Liu et al., 2022, arXiv:2201.03545): ImageNet-22K, and fine-tuning on ImageNet-1K at 224 and 384.

Values: TRAINING.md of the official code and tables 5 and 6 of the paper. Rates are for its batches.
"""

from __future__ import annotations

from dataclasses import replace

from .convnext import FP32, imagenet
from .imagenet import CLASSES_22K, PICTURES, UNMIXED, WARPED_384, command, starting_from, top1
from .recipe import ModelChoice, Recipe

LARGER = {  # at 384 from 1K weights of 224: stochastic depth, top-1
    "convnext_base": (0.8, 85.1),
    "convnext_large": (0.95, 85.5),
}
OVER_22K = {  # stochastic depth on 22K and when fine-tuned on 1K; top-1 then at 224 and at 384
    "convnext_tiny": (0.0, 0.0, 82.9, 84.1),
    "convnext_small": (0.0, 0.1, 84.6, 85.8),
    "convnext_base": (0.1, 0.2, 85.8, 86.8),
    "convnext_large": (0.1, 0.3, 86.6, 87.5),
    "convnext_xlarge": (0.2, 0.4, 87.0, 87.8),
}


def convnext_base_finetune_384() -> Recipe:
    """ConvNeXt-B at 384, 30 epochs from its weights of 224: 85.1 top-1."""
    return _from_1k("convnext_base", "The official run starts from the raw weights, not from the EMA that a run keeps.")


def convnext_large_finetune_384() -> Recipe:
    """ConvNeXt-L at 384, 30 epochs from its weights of 224: 85.5 top-1."""
    return _from_1k("convnext_large", "Like the official run it starts from the EMA.")


def convnext_tiny_22k() -> Recipe:
    """ConvNeXt-T on ImageNet-22K at 224, 90 epochs from scratch: 82.9 top-1 after fine-tuning on 1K."""
    return _imagenet_22k("convnext_tiny")


def convnext_small_22k() -> Recipe:
    """ConvNeXt-S on ImageNet-22K at 224, 90 epochs from scratch: 84.6 top-1 after fine-tuning on 1K."""
    return _imagenet_22k("convnext_small")


def convnext_base_22k() -> Recipe:
    """ConvNeXt-B on ImageNet-22K at 224, 90 epochs from scratch: 85.8 top-1 after fine-tuning on 1K."""
    return _imagenet_22k("convnext_base")


def convnext_large_22k() -> Recipe:
    """ConvNeXt-L on ImageNet-22K at 224, 90 epochs from scratch: 86.6 top-1 after fine-tuning on 1K."""
    return _imagenet_22k("convnext_large")


def convnext_xlarge_22k() -> Recipe:
    """ConvNeXt-XL on ImageNet-22K at 224, 90 epochs from scratch: 87.0 top-1 after fine-tuning on 1K."""
    return _imagenet_22k("convnext_xlarge")


def convnext_tiny_22k_finetune() -> Recipe:
    """ConvNeXt-T at 224, 30 epochs on 1K from its weights of ImageNet-22K: 82.9 top-1."""
    return _from_22k("convnext_tiny")


def convnext_small_22k_finetune() -> Recipe:
    """ConvNeXt-S at 224, 30 epochs on 1K from its weights of ImageNet-22K: 84.6 top-1."""
    return _from_22k("convnext_small")


def convnext_base_22k_finetune() -> Recipe:
    """ConvNeXt-B at 224, 30 epochs on 1K from its weights of ImageNet-22K: 85.8 top-1."""
    return _from_22k("convnext_base")


def convnext_large_22k_finetune() -> Recipe:
    """ConvNeXt-L at 224, 30 epochs on 1K from its weights of ImageNet-22K: 86.6 top-1."""
    return _from_22k("convnext_large")


def convnext_xlarge_22k_finetune() -> Recipe:
    """ConvNeXt-XL at 224, 30 epochs on 1K from its weights of ImageNet-22K: 87.0 top-1."""
    return _with_ema(_from_22k("convnext_xlarge"))


def convnext_tiny_22k_finetune_384() -> Recipe:
    """ConvNeXt-T at 384, 30 epochs on 1K from its weights of ImageNet-22K: 84.1 top-1."""
    return _from_22k("convnext_tiny", at_384=True)


def convnext_small_22k_finetune_384() -> Recipe:
    """ConvNeXt-S at 384, 30 epochs on 1K from its weights of ImageNet-22K: 85.8 top-1."""
    return _from_22k("convnext_small", at_384=True)


def convnext_base_22k_finetune_384() -> Recipe:
    """ConvNeXt-B at 384, 30 epochs on 1K from its weights of ImageNet-22K: 86.8 top-1."""
    return _from_22k("convnext_base", at_384=True)


def convnext_large_22k_finetune_384() -> Recipe:
    """ConvNeXt-L at 384, 30 epochs on 1K from its weights of ImageNet-22K: 87.5 top-1."""
    return _from_22k("convnext_large", at_384=True)


def convnext_xlarge_22k_finetune_384() -> Recipe:
    """ConvNeXt-XL at 384, 30 epochs on 1K from its weights of ImageNet-22K: 87.8 top-1."""
    return _with_ema(_from_22k("convnext_xlarge", at_384=True))


def _imagenet_22k(model: str) -> Recipe:
    name, (drop_path_rate, _, percent, _) = f"{model}_22k", OVER_22K[model]
    expected = f"after fine-tuning on 1K at 224, {top1(percent)}"
    base = imagenet(ModelChoice(name=model, drop_path_rate=drop_path_rate), expected, name=name)
    return replace(
        base,
        schedule=replace(base.schedule, epochs=90, warmup_epochs=5),
        about=replace(
            base.about,
            command=command(name, data="IMAGENET_22K", options="--accumulate 16"),
            hardware="official: 128 GPUs, 32 pictures each",
            notes=f"{FP32} {CLASSES_22K}",
        ),
    )


def _from_1k(model: str, notes: str) -> Recipe:
    drop_path_rate, percent = LARGER[model]
    recipe = _finetuning(f"{model}_finetune_384", model, drop_path_rate, percent, at_384=True, layer_decay=0.7)
    recipe = replace(recipe, about=replace(recipe.about, notes=f"{FP32} {notes}"))
    return starting_from(recipe, model, f"{model}_1k_224.pth of the official repository")


def _from_22k(model: str, *, at_384: bool = False) -> Recipe:
    _, drop_path_rate, at_224, larger = OVER_22K[model]
    name = f"{model}_22k_finetune_384" if at_384 else f"{model}_22k_finetune"
    recipe = _finetuning(name, model, drop_path_rate, larger if at_384 else at_224, at_384=at_384, layer_decay=0.8)
    return starting_from(recipe, f"{model}_22k", f"{model}_22k_224.pth of the official repository")


def _finetuning(
    name: str, model: str, drop_path_rate: float, percent: float, *, at_384: bool, layer_decay: float
) -> Recipe:
    """30 epochs without warm-up and mixing; a new head starts at a thousandth of its size."""
    choice = ModelChoice(name=model, drop_path_rate=drop_path_rate, head_scale=0.001)
    base = imagenet(choice, top1(percent), name=name)
    return replace(
        base,
        inputs=WARPED_384 if at_384 else PICTURES,
        augment=UNMIXED,
        optim=replace(base.optim, lr=5e-5, weight_decay=1e-8, layer_decay=layer_decay),
        schedule=replace(base.schedule, epochs=30, warmup_epochs=0),
        training=replace(base.training, batch_size=512),
        about=replace(
            base.about,
            command=command(name, options="--accumulate 2"),
            hardware="official: a batch of 512 on 16 to 64 GPUs",
            notes=FP32,
        ),
    )


def _with_ema(recipe: Recipe) -> Recipe:
    """Of the fine-tuned models XL alone has one."""
    return replace(recipe, training=replace(recipe.training, ema=0.9999))
