"""ConvNeXt (Liu et al., 2022, arXiv:2201.03545): ImageNet-1K from scratch, the isotropic models, the walk from ResNet.

Values: main.py and TRAINING.md of the official code. Rates are for its batches and do not follow other ones.
"""

from __future__ import annotations

from dataclasses import replace

from muntin.engine import Optim, Schedule

from .imagenet import classification, command, top1
from .recipe import About, ModelChoice, Recipe

PAPER = "A ConvNet for the 2020s, 2022, arXiv:2201.03545"
FP32 = "The official code runs in fp32 unless asked; give --precision fp32 for the same."
EMA = "The number is that of the EMA, which is evaluated and kept."
# the last update of the warm-up has the full rate already
SCHEDULE = Schedule(kind="cosine", clock="inclusive_update", epochs=300, warmup_epochs=20, warmup_lr=0.0, min_lr=1e-6)


def convnext_tiny() -> Recipe:
    """ConvNeXt-T on ImageNet-1K at 224, 300 epochs from scratch: 82.1 top-1."""
    return _with_ema("convnext_tiny", 0.1, 82.1)


def convnext_small() -> Recipe:
    """ConvNeXt-S on ImageNet-1K at 224, 300 epochs from scratch: 83.1 top-1."""
    return _with_ema("convnext_small", 0.4, 83.1)


def convnext_base() -> Recipe:
    """ConvNeXt-B on ImageNet-1K at 224, 300 epochs from scratch: 83.8 top-1."""
    return _with_ema("convnext_base", 0.5, 83.8)


def convnext_large() -> Recipe:
    """ConvNeXt-L on ImageNet-1K at 224, 300 epochs from scratch: 84.3 top-1."""
    return _with_ema("convnext_large", 0.5, 84.3)


def convnext_iso_small() -> Recipe:
    """Isotropic ConvNeXt-S on ImageNet-1K at 224, 300 epochs from scratch: 78.7 top-1."""
    return _isotropic("convnext_iso_small", 0.1, 78.7)


def convnext_iso_base() -> Recipe:
    """Isotropic ConvNeXt-B on ImageNet-1K at 224, 300 epochs from scratch: 82.0 top-1."""
    return _isotropic("convnext_iso_base", 0.2, 82.0)


def convnext_iso_large() -> Recipe:
    """Isotropic ConvNeXt-L on ImageNet-1K at 224, 300 epochs from scratch: 82.6 top-1."""
    return _isotropic("convnext_iso_large", 0.5, 82.6)


def convnext_roadmap() -> Recipe:
    """Any step from ResNet-50 to ConvNeXt-T on ImageNet-1K at 224, 300 epochs from scratch; the last: 81.97 top-1."""
    steps = "Its first step is --model convnext_roadmap_01; `muntin models` lists all with their numbers"
    base = imagenet(
        ModelChoice(name="convnext_roadmap_13", drop_path_rate=0.1),
        top1(81.97, "table 10, mean of three seeds"),
        name="convnext_roadmap",
    )
    return replace(base, about=replace(base.about, notes=f"{FP32} No EMA: it hurts batch norm. {steps}."))


def imagenet(model: ModelChoice, expected: str, *, name: str = "") -> Recipe:
    """300 epochs from scratch; no gradient is clipped."""
    return classification(
        model,
        name=name,
        optim=Optim(lr=4e-3, weight_decay=0.05, betas=(0.9, 0.999), eps=1e-8, clip_grad=0.0),
        schedule=SCHEDULE,
        batch_size=4096,
        about=About(
            paper=PAPER,
            command=command(name or model.name, options="--accumulate 4"),
            hardware="official: 32 GPUs, 128 pictures each (L: 64 GPUs, 64 pictures each)",
            expected=expected,
            notes=f"{FP32} {EMA}",
        ),
    )


def _with_ema(model: str, drop_path_rate: float, percent: float) -> Recipe:
    recipe = imagenet(ModelChoice(name=model, drop_path_rate=drop_path_rate), top1(percent))
    return replace(recipe, training=replace(recipe.training, ema=0.9999))


def _isotropic(model: str, drop_path_rate: float, percent: float) -> Recipe:
    recipe = _with_ema(model, drop_path_rate, percent)
    return replace(recipe, schedule=replace(recipe.schedule, warmup_epochs=50))
