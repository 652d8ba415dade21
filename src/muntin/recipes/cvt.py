"""CvT (Wu et al., 2021, arXiv:2103.15808): ImageNet-1K from scratch, ImageNet-22K, and fine-tuning at 384.

Values: experiments/imagenet of the official code, whose rates are for one GPU of 256 pictures (the paper's 0.02 is ten
times that). Its warm-up and final rates do not follow the batch; those here do, and are the official ones at the
paper's batch of 2,048. How 22K was trained and the rate of fine-tuning were not published: the notes say what stands
in for them.
"""

from __future__ import annotations

from dataclasses import replace

from muntin.engine import Optim, Schedule

from .imagenet import AUGMENT, CLASSES_22K, FP16, WARPED_384, classification, command, starting_from, top1
from .recipe import About, ModelChoice, Recipe
from .vit import finetuning

PAPER = "CvT: Introducing Convolutions to Vision Transformers, 2021, arXiv:2103.15808"
TABLE = {  # weight decay, stochastic depth of the last stage
    "cvt_13": (0.05, 0.1),
    "cvt_21": (0.1, 0.1),
    "cvt_w24": (0.1, 0.3),
}
W24 = top1(87.6, "official repository; table 3: 87.7")
CVT_21 = "The official file of CvT-21 leaves out RandAugment and erasing, by an omission it seems; here they are on."
UNKNOWN_22K = "How 22K was trained is not published: these are the values of 1K for 90 epochs, as in Swin and ConvNeXt."
UNKNOWN_RATE = (
    "The paper gives optimizer, batch and updates; the rate is ViT's default, augmentation and stochastic depth are "
    "those of the training before."
)


def cvt_13() -> Recipe:
    """CvT-13 on ImageNet-1K at 224, 300 epochs from scratch: 81.6 top-1."""
    return _imagenet("cvt_13", _published(81.6))


def cvt_21() -> Recipe:
    """CvT-21 on ImageNet-1K at 224, 300 epochs from scratch: 82.5 top-1."""
    base = _imagenet("cvt_21", _published(82.5))
    about = replace(base.about, notes=f"{FP16} {CVT_21}")
    return replace(base, augment=replace(AUGMENT, repeats=3), about=about)


def cvt_13_22k() -> Recipe:
    """CvT-13 on ImageNet-22K at 224, 90 epochs from scratch: 83.3 top-1 after fine-tuning at 384."""
    return _imagenet_22k("cvt_13", _published(83.3))


def cvt_21_22k() -> Recipe:
    """CvT-21 on ImageNet-22K at 224, 90 epochs from scratch: 84.9 top-1 after fine-tuning at 384."""
    return _imagenet_22k("cvt_21", _published(84.9))


def cvt_w24_22k() -> Recipe:
    """CvT-W24 on ImageNet-22K at 224, 90 epochs from scratch: 87.6 top-1 after fine-tuning at 384."""
    return _imagenet_22k("cvt_w24", W24)


def cvt_13_finetune_384() -> Recipe:
    """CvT-13 at 384, 20,000 updates from its weights of 224: 83.0 top-1."""
    return _from_1k("cvt_13", 83.0)


def cvt_21_finetune_384() -> Recipe:
    """CvT-21 at 384, 20,000 updates from its weights of 224: 83.3 top-1."""
    return _from_1k("cvt_21", 83.3)


def cvt_13_22k_finetune_384() -> Recipe:
    """CvT-13 at 384, 20,000 updates on 1K from its weights of ImageNet-22K: 83.3 top-1."""
    return _from_22k("cvt_13", _published(83.3))


def cvt_21_22k_finetune_384() -> Recipe:
    """CvT-21 at 384, 20,000 updates on 1K from its weights of ImageNet-22K: 84.9 top-1."""
    return _from_22k("cvt_21", _published(84.9))


def cvt_w24_22k_finetune_384() -> Recipe:
    """CvT-W24 at 384, 20,000 updates on 1K from its weights of ImageNet-22K: 87.6 top-1."""
    return _from_22k("cvt_w24", W24)


def _imagenet(model: str, expected: str, *, name: str = "") -> Recipe:
    """300 epochs; the rate moves once an epoch, and nothing is clipped."""
    weight_decay, drop_path_rate = TABLE[model]
    return classification(
        ModelChoice(name=model, drop_path_rate=drop_path_rate),
        name=name,
        optim=Optim(lr=2.5e-4, lr_batch=256, weight_decay=weight_decay, clip_grad=0.0),
        schedule=Schedule(
            kind="cosine",
            clock="epoch",
            epochs=300,
            warmup_epochs=5,
            warmup_lr=1.25e-7,
            min_lr=1.25e-6,
            warmup_prefix=False,
        ),
        batch_size=2048,
        about=About(
            paper=PAPER,
            command=command(name or model),
            hardware="official: 8 GPUs, 256 pictures each (CvT-21, W24: 16 GPUs, 128 pictures each)",
            expected=expected,
            notes=FP16,
        ),
    )


def _imagenet_22k(model: str, after: str) -> Recipe:
    name = f"{model}_22k"
    base = _imagenet(model, f"after fine-tuning on 1K at 384, {after}", name=name)
    about = replace(base.about, command=command(name, data="IMAGENET_22K"), notes=f"{FP16} {UNKNOWN_22K} {CLASSES_22K}")
    return replace(base, schedule=replace(base.schedule, epochs=90), about=about)


def _from_1k(model: str, percent: float) -> Recipe:
    recipe = _at_384(f"{model}_finetune_384", model, _published(percent))
    return starting_from(recipe, model, f"{model.replace('cvt_', 'CvT-')}-224x224-IN-1k.pth of the official repository")


def _from_22k(model: str, expected: str) -> Recipe:
    recipe = _at_384(f"{model}_22k_finetune_384", model, expected)
    return starting_from(recipe, f"{model}_22k", "the paper's own, which were published after fine-tuning only")


def _at_384(name: str, model: str, expected: str) -> Recipe:
    return finetuning(
        name,
        ModelChoice(name=model, drop_path_rate=TABLE[model][1]),
        inputs=WARPED_384,
        augment=AUGMENT,
        lr=0.03,
        about=About(
            paper=PAPER,
            command=command(name, gpus=16),
            hardware="not told; for instance 16 GPUs, 32 pictures each",
            expected=expected,
            notes=UNKNOWN_RATE,
        ),
    )


def _published(percent: float) -> str:
    return top1(percent, "table 3")
