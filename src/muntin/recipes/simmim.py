"""SimMIM (Xie et al., 2022, arXiv:2111.09886): masked-pixel pre-training on ImageNet-1K, and fine-tuning after it.

Values: configs of the official SimMIM repository (100 epochs) and configs/simmim of the Swin one (800 epochs). Learning
rates are written for 512 pictures, as there, and scale with the batch of 2,048.
"""

from __future__ import annotations

from dataclasses import replace

from muntin.data import Augment, Preprocess
from muntin.engine import Optim, Schedule, Training

from .recipe import About, DataChoice, Masking, ModelChoice, Recipe
from .swin import AUGMENT

PAPER = "SimMIM: A Simple Framework for Masked Image Modeling, 2022, arXiv:2111.09886"

HUB = "SimMIM hub: V2-B, ImageNet-1K, 500k updates of 2,048 pictures, which are 800 epochs"
OFFICIAL = {  # a recipe of pre-training -> the file of the official repository that it stands for
    "simmim_swin_base_100ep": "simmim_pretrain__swin_base__img192_window6__100ep.pth",
    "simmim_swin_base_800ep": "simmim_pretrain__swin_base__img192_window6__800ep.pth",
    "simmim_swin_large_800ep": "simmim_pretrain__swin_large__img192_window12__800ep.pth",
    "simmim_swin_v2_base_800ep": "swinv2_base_1k_500k.pth",
}

# Official models are built with windows shrunk to maps smaller than them, so the last tables of the files are smaller.
WINDOW_12_AT_192 = ((12, 12), (12, 12), (12, 12), (6, 6))
WINDOW_14_AT_224 = ((14, 14), (14, 14), (14, 14), (7, 7))

MULTISTEP = Schedule(kind="multistep", epochs=800, warmup_epochs=10, warmup_lr=5e-7, milestones=(700,), decay_rate=0.1)

# Exempt from weight decay are bias tables, log-CPB and logit scales, as in supervised training. The official code means
# to, but its keywords miss their parameters (`encoder.` is put before them), so there they decay.
DECAY_NOTE = "The official code, by a slip, decays bias tables, log-CPB and logit scales too; here they are exempt."


def simmim_swin_base_100ep() -> Recipe:
    """SimMIM pre-training of Swin-B at 192, 100 epochs: 82.8 top-1 after fine-tuning at 192."""
    cosine = Schedule(kind="cosine", epochs=100, warmup_epochs=10, warmup_lr=1e-6, min_lr=1e-5, warmup_prefix=False)
    return _pretraining(
        "simmim_swin_base_100ep",
        model=ModelChoice(name="swin_base", window=(6, 6)),
        lr=2e-4,
        schedule=cosine,
        metric="82.8 % top-1 after fine-tuning at 192, 83.5 % at 224 (official repository)",
    )


def simmim_swin_base_800ep() -> Recipe:
    """SimMIM pre-training of Swin-B at 192, 800 epochs: 84.0 top-1 after fine-tuning at 224."""
    return _pretraining(
        "simmim_swin_base_800ep",
        model=ModelChoice(name="swin_base", window=(6, 6)),
        metric="84.0 % top-1 after fine-tuning at 224 (official repository)",
    )


def simmim_swin_large_800ep() -> Recipe:
    """SimMIM pre-training of Swin-L at 192, 800 epochs: 85.4 top-1 after fine-tuning at 224."""
    return _pretraining(
        "simmim_swin_large_800ep",
        model=ModelChoice(name="swin_large_window12", window=WINDOW_12_AT_192),
        metric="85.4 % top-1 after fine-tuning at 224 with window 14 (official repository)",
    )


def simmim_swin_v2_base_800ep() -> Recipe:
    """SimMIM pre-training of Swin V2-B at 192 with normalised target, 800 epochs: 85.04 top-1 after fine-tuning."""
    return _pretraining(
        "simmim_swin_v2_base_800ep",
        model=ModelChoice(name="swin_v2_base_window12", drop_path_rate=0.1),
        masking=Masking(target_window=47),
        metric=f"validation loss 0.4588, 85.04 % top-1 after fine-tuning ({HUB})",
    )


def simmim_finetune_swin_base_100ep() -> Recipe:
    """Swin-B at 192 fine-tuned from its 100 epochs of SimMIM: 82.8 top-1."""
    return Recipe(
        name="simmim_finetune_swin_base_100ep",
        task="classification",
        model=ModelChoice(name="swin_base", window=(6, 6), drop_path_rate=0.1, from_scratch=False),
        data=DataChoice(path=""),
        preprocess=Preprocess(image_size=(192, 192), crop_ratio=0.875, interpolation="bicubic"),
        augment=AUGMENT,
        optim=Optim(lr=1.25e-3, lr_batch=512, weight_decay=0.05, clip_grad=5.0, layer_decay=0.9),
        schedule=Schedule(
            kind="cosine", epochs=100, warmup_epochs=20, warmup_lr=2.5e-7, min_lr=2.5e-7, warmup_prefix=False
        ),
        training=Training(batch_size=2048, workers=8),
        about=_finetuning_about("simmim_finetune_swin_base_100ep", "simmim_swin_base_100ep", _top1(82.8)),
    )


def simmim_finetune_swin_base_100ep_224() -> Recipe:
    """Swin-B at 224 fine-tuned from its 100 epochs of SimMIM at 192: 83.5 top-1."""
    return _at_224(
        "simmim_finetune_swin_base_100ep_224",
        "simmim_swin_base_100ep",
        model=ModelChoice(name="swin_base", drop_path_rate=0.1, from_scratch=False),
        layer_decay=0.9,
        metric=_top1(83.5),
    )


def simmim_finetune_swin_base_800ep() -> Recipe:
    """Swin-B at 224 fine-tuned from its 800 epochs of SimMIM at 192: 84.0 top-1."""
    return _at_224(
        "simmim_finetune_swin_base_800ep",
        "simmim_swin_base_800ep",
        model=ModelChoice(name="swin_base", drop_path_rate=0.1, from_scratch=False),
        layer_decay=0.8,
        metric=_top1(84.0),
    )


def simmim_finetune_swin_large_800ep() -> Recipe:
    """Swin-L at 224 with window 14 fine-tuned from its 800 epochs of SimMIM at 192: 85.4 top-1."""
    return _at_224(
        "simmim_finetune_swin_large_800ep",
        "simmim_swin_large_800ep",
        model=ModelChoice(name="swin_large", window=WINDOW_14_AT_224, drop_path_rate=0.2, from_scratch=False),
        layer_decay=0.7,
        metric=_top1(85.4),
    )


def simmim_finetune_swin_v2_base_800ep() -> Recipe:
    """Swin V2-B at 224 with window 14 fine-tuned from its 800 epochs of SimMIM at 192: 85.04 top-1."""
    return _at_224(
        "simmim_finetune_swin_v2_base_800ep",
        "simmim_swin_v2_base_800ep",
        model=ModelChoice(
            name="swin_v2_base_window12",
            window=(14, 14),
            pretrained_window=WINDOW_12_AT_192,
            drop_path_rate=0.1,
            from_scratch=False,
        ),
        layer_decay=0.75,
        metric=f"85.04 % top-1 on the ImageNet-1K validation set ({HUB})",
    )


def _at_224(name: str, pretraining: str, *, model: ModelChoice, layer_decay: float, metric: str) -> Recipe:
    """The fine-tuning at 192 in another size, from another recipe's weights."""
    base = simmim_finetune_swin_base_100ep()
    return replace(
        base,
        name=name,
        model=model,
        preprocess=replace(base.preprocess, image_size=(224, 224)),
        optim=replace(base.optim, layer_decay=layer_decay),
        about=_finetuning_about(name, pretraining, metric),
    )


def _finetuning_about(name: str, pretraining: str, metric: str) -> About:
    return About(
        paper=PAPER,
        command=f"torchrun --nproc-per-node 16 -m muntin train {name} --data IMAGENET --weights runs/{pretraining}",
        hardware="official: 16 GPUs, 128 pictures each",
        expected=metric,
        starts_from=f"a run of {pretraining}, or the official {OFFICIAL[pretraining]}",
        notes="The official code fine-tunes in fp32; give --precision fp32 for the same.",
    )


def _top1(percent: float) -> str:
    return f"{percent} % top-1 on the ImageNet-1K validation set (official repository)"


def _pretraining(
    name: str,
    *,
    model: ModelChoice,
    metric: str,
    lr: float = 1e-4,
    schedule: Schedule = MULTISTEP,
    masking: Masking = Masking(),  # noqa: B008 (frozen)
) -> Recipe:
    return Recipe(
        name=name,
        task="simmim",
        model=model,
        data=DataChoice(path=""),
        preprocess=Preprocess(image_size=(192, 192), crop_ratio=0.875, interpolation="bilinear"),
        augment=Augment(crop="resized", crop_scale=(0.67, 1.0), flip=0.5),
        masking=masking,
        optim=Optim(lr=lr, lr_batch=512, weight_decay=0.05, betas=(0.9, 0.999), clip_grad=5.0),
        schedule=schedule,
        training=Training(batch_size=2048, workers=8),
        about=About(
            paper=PAPER,
            command=f"torchrun --nproc-per-node 16 -m muntin train {name} --data IMAGENET",
            hardware="official: 16 GPUs, 128 pictures each",
            expected=metric,
            notes=DECAY_NOTE,
        ),
    )
