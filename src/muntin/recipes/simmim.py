"""SimMIM (Xie et al., 2022, arXiv:2111.09886): masked-pixel pre-training on ImageNet-1K, and fine-tuning after it.

Values: configs of the official SimMIM repository (100 epochs) and configs/simmim of the Swin one (800 epochs). Learning
rates are written for 512 pictures, as there, and scale with the batch of 2,048.
"""

from __future__ import annotations

from dataclasses import replace

from muntin.data import Augment
from muntin.engine import Optim, Schedule, Training
from muntin.tasks import SimMIMChoice

from .imagenet import PICTURES, classification, command, starting_from, top1
from .recipe import About, DataChoice, ModelChoice, Recipe

PAPER = "SimMIM: A Simple Framework for Masked Image Modeling, 2022, arXiv:2111.09886"

HUB = "SimMIM hub: V2-B, ImageNet-1K, 500k updates of 2,048 pictures, which are 800 epochs"
OFFICIAL = {  # a recipe of pre-training -> the file of the official repository that it stands for
    "simmim_swin_base_100ep": "simmim_pretrain__swin_base__img192_window6__100ep.pth",
    "simmim_swin_base_800ep": "simmim_pretrain__swin_base__img192_window6__800ep.pth",
    "simmim_swin_large_800ep": "simmim_pretrain__swin_large__img192_window12__800ep.pth",
    "simmim_swin_v2_base_800ep": "swinv2_base_1k_500k.pth",
    "simmim_vit_base_800ep": "simmim_pretrain__vit_base__img224__800ep.pth",
}

# Official models are built with windows shrunk to maps smaller than them, so the last tables of the files are smaller.
WINDOW_12_AT_192 = ((12, 12), (12, 12), (12, 12), (6, 6))
WINDOW_14_AT_224 = ((14, 14), (14, 14), (14, 14), (7, 7))

MULTISTEP = Schedule(kind="multistep", epochs=800, warmup_epochs=10, warmup_lr=5e-7, milestones=(700,), decay_rate=0.1)

# Exempt from weight decay are bias tables, log-CPB and logit scales, as in supervised training. The official code means
# to, but its keywords miss their parameters (`encoder.` is put before them), so there they decay.
DECAY_NOTE = "The official code, by a slip, decays bias tables, log-CPB and logit scales too; here they are exempt."
SHARED_NOTE = "One bias table serves all blocks; fine-tuning gives each block a copy of its own."
HARDWARE = "official: 16 GPUs, 128 pictures each"


def simmim_swin_base_100ep() -> Recipe:
    """SimMIM pre-training of Swin-B at 192, 100 epochs: 82.8 top-1 after fine-tuning at 192."""
    cosine = Schedule(kind="cosine", epochs=100, warmup_epochs=10, warmup_lr=1e-6, min_lr=1e-5, warmup_prefix=False)
    return _pretraining(
        "simmim_swin_base_100ep",
        model=ModelChoice(name="swin_base", config={"window": (6, 6)}),
        lr=2e-4,
        schedule=cosine,
        metric="82.8 % top-1 after fine-tuning at 192, 83.5 % at 224 (official repository)",
    )


def simmim_swin_base_800ep() -> Recipe:
    """SimMIM pre-training of Swin-B at 192, 800 epochs: 84.0 top-1 after fine-tuning at 224."""
    return _pretraining(
        "simmim_swin_base_800ep",
        model=ModelChoice(name="swin_base", config={"window": (6, 6)}),
        metric="84.0 % top-1 after fine-tuning at 224 (official repository)",
    )


def simmim_swin_large_800ep() -> Recipe:
    """SimMIM pre-training of Swin-L at 192, 800 epochs: 85.4 top-1 after fine-tuning at 224."""
    return _pretraining(
        "simmim_swin_large_800ep",
        model=ModelChoice(name="swin_large_window12", config={"window": WINDOW_12_AT_192}),
        metric="85.4 % top-1 after fine-tuning at 224 with window 14 (official repository)",
    )


def simmim_swin_v2_base_800ep() -> Recipe:
    """SimMIM pre-training of Swin V2-B at 192 with normalised target, 800 epochs: 85.04 top-1 after fine-tuning."""
    return _pretraining(
        "simmim_swin_v2_base_800ep",
        model=ModelChoice(name="swin_v2_base_window12", drop_path_rate=0.1),
        task=SimMIMChoice(target_window=47),
        metric=f"validation loss 0.4588, 85.04 % top-1 after fine-tuning ({HUB})",
    )


def simmim_vit_base_800ep() -> Recipe:
    """SimMIM pre-training of ViT-B at 224, 800 epochs: 83.8 top-1 after fine-tuning at 224."""
    recipe = _pretraining(
        "simmim_vit_base_800ep",
        model=ModelChoice(name="beit_base", config={"shared_bias": True}, drop_path_rate=0.1),
        metric="83.8 % top-1 after fine-tuning at 224 (official repository)",
        image_size=224,
    )
    return replace(recipe, about=replace(recipe.about, notes=SHARED_NOTE))


def simmim_finetune_swin_base_100ep() -> Recipe:
    """Swin-B at 192 fine-tuned from its 100 epochs of SimMIM: 82.8 top-1."""
    model = ModelChoice(name="swin_base", config={"window": (6, 6)})
    return _finetuning("swin_base_100ep", model, top1(82.8), layer_decay=0.9, image_size=192)


def simmim_finetune_swin_base_100ep_224() -> Recipe:
    """Swin-B at 224 fine-tuned from its 100 epochs of SimMIM at 192: 83.5 top-1."""
    return _finetuning("swin_base_100ep", ModelChoice(name="swin_base"), top1(83.5), layer_decay=0.9, suffix="_224")


def simmim_finetune_swin_base_800ep() -> Recipe:
    """Swin-B at 224 fine-tuned from its 800 epochs of SimMIM at 192: 84.0 top-1."""
    return _finetuning("swin_base_800ep", ModelChoice(name="swin_base"), top1(84.0), layer_decay=0.8)


def simmim_finetune_swin_large_800ep() -> Recipe:
    """Swin-L at 224 with window 14 fine-tuned from its 800 epochs of SimMIM at 192: 85.4 top-1."""
    model = ModelChoice(name="swin_large", config={"window": WINDOW_14_AT_224})
    return _finetuning("swin_large_800ep", model, top1(85.4), layer_decay=0.7, drop_path_rate=0.2)


def simmim_finetune_swin_v2_base_800ep() -> Recipe:
    """Swin V2-B at 224 with window 14 fine-tuned from its 800 epochs of SimMIM at 192: 85.04 top-1."""
    windows = {"window": (14, 14), "pretrained_window": WINDOW_12_AT_192}
    model = ModelChoice(name="swin_v2_base_window12", config=windows)
    metric = f"85.04 % top-1 on the ImageNet-1K validation set ({HUB})"
    return _finetuning("swin_v2_base_800ep", model, metric, layer_decay=0.75)


def simmim_finetune_vit_base_800ep() -> Recipe:
    """ViT-B at 224, a bias table a block, fine-tuned from its 800 epochs of SimMIM: 83.8 top-1."""
    model = ModelChoice(name="beit_base", head_scale=0.001)
    return _finetuning("vit_base_800ep", model, top1(83.8), layer_decay=0.65)


def _finetuning(
    trained: str,
    model: ModelChoice,
    metric: str,
    *,
    layer_decay: float,
    drop_path_rate: float = 0.1,
    image_size: int = 224,
    suffix: str = "",
) -> Recipe:
    """100 epochs from the weights of simmim_`trained`."""
    name, pretraining = f"simmim_finetune_{trained}{suffix}", f"simmim_{trained}"
    recipe = classification(
        replace(model, drop_path_rate=drop_path_rate),
        name=name,
        inputs=replace(PICTURES, image_size=(image_size, image_size)),
        optim=Optim(lr=1.25e-3, lr_batch=512, weight_decay=0.05, clip_grad=5.0, layer_decay=layer_decay),
        schedule=Schedule(
            kind="cosine", epochs=100, warmup_epochs=20, warmup_lr=2.5e-7, min_lr=2.5e-7, warmup_prefix=False
        ),
        batch_size=2048,
        about=About(
            paper=PAPER,
            command=command(name, gpus=16),
            hardware=HARDWARE,
            expected=metric,
            notes="The official code fine-tunes in fp32; give --precision fp32 for the same.",
        ),
    )
    return starting_from(recipe, pretraining, f"the official {OFFICIAL[pretraining]}")


def _pretraining(
    name: str,
    *,
    model: ModelChoice,
    metric: str,
    lr: float = 1e-4,
    schedule: Schedule = MULTISTEP,
    task: SimMIMChoice = SimMIMChoice(),  # noqa: B008 (frozen)
    image_size: int = 192,
) -> Recipe:
    return Recipe(
        name=name,
        task=task,
        model=model,
        data=DataChoice(path=""),
        inputs=replace(PICTURES, image_size=(image_size, image_size), interpolation="bilinear"),
        augment=Augment(crop="resized", crop_scale=(0.67, 1.0), flip=0.5),
        optim=Optim(lr=lr, lr_batch=512, weight_decay=0.05, betas=(0.9, 0.999), clip_grad=5.0),
        schedule=schedule,
        training=Training(batch_size=2048, workers=8),
        about=About(
            paper=PAPER,
            command=command(name, gpus=16),
            hardware=HARDWARE,
            expected=metric,
            notes=DECAY_NOTE,
        ),
    )
