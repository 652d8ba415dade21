"""Vision Transformer (Dosovitskiy et al., 2020, arXiv:2010.11929): pre-training at 224, fine-tuning at 384.

Values: tables 3 and 4 and appendix B.1 of the paper, and the official configs. Rates are for the paper's batches and do
not follow other ones. Pictures are bilinear, on a scale of -1 to 1, and warped to their size in evaluation.
"""

from __future__ import annotations

from muntin.data import Augment, Preprocess
from muntin.engine import Optim, Schedule

from .imagenet import classification, command, starting_from, top1
from .recipe import About, ModelChoice, Recipe

PAPER = "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale, 2020, arXiv:2010.11929"
HALF = (0.5, 0.5, 0.5)
PICTURES = Preprocess(image_size=(224, 224), crop_ratio=0.0, interpolation="bilinear", mean=HALF, std=HALF)
PICTURES_384 = Preprocess(image_size=(384, 384), crop_ratio=0.0, interpolation="bilinear", mean=HALF, std=HALF)
AUGMENT = Augment(crop="resized", crop_scale=(0.05, 1.0), flip=0.5)
TABLE = {  # channels; top-1 after fine-tuning at 384, from ImageNet-1K and from ImageNet-21K (table 5)
    "vit_base_patch16": (768, 77.91, 83.97),
    "vit_base_patch32": (768, 73.38, 81.28),
    "vit_large_patch16": (1024, 76.53, 85.15),
    "vit_large_patch32": (1024, 71.16, 80.99),
}
ADAM = "The paper's Adam with weight decay is taken for AdamW."
HEAD = "The official code starts a new head even for the same classes; here a head that fits is kept."


def vit_base_patch16() -> Recipe:
    """ViT-B/16 on ImageNet-1K at 224, 300 epochs from scratch: 77.91 top-1 after fine-tuning at 384."""
    return _imagenet("vit_base_patch16")


def vit_base_patch32() -> Recipe:
    """ViT-B/32 on ImageNet-1K at 224, 300 epochs from scratch: 73.38 top-1 after fine-tuning at 384."""
    return _imagenet("vit_base_patch32")


def vit_large_patch16() -> Recipe:
    """ViT-L/16 on ImageNet-1K at 224, 300 epochs from scratch: 76.53 top-1 after fine-tuning at 384."""
    return _imagenet("vit_large_patch16")


def vit_large_patch32() -> Recipe:
    """ViT-L/32 on ImageNet-1K at 224, 300 epochs from scratch: 71.16 top-1 after fine-tuning at 384."""
    return _imagenet("vit_large_patch32")


def vit_base_patch16_21k() -> Recipe:
    """ViT-B/16 on ImageNet-21K at 224, 90 epochs from scratch: 83.97 top-1 after fine-tuning at 384."""
    return _imagenet_21k("vit_base_patch16")


def vit_base_patch32_21k() -> Recipe:
    """ViT-B/32 on ImageNet-21K at 224, 90 epochs from scratch: 81.28 top-1 after fine-tuning at 384."""
    return _imagenet_21k("vit_base_patch32")


def vit_large_patch16_21k() -> Recipe:
    """ViT-L/16 on ImageNet-21K at 224, 90 epochs from scratch: 85.15 top-1 after fine-tuning at 384."""
    return _imagenet_21k("vit_large_patch16")


def vit_large_patch32_21k() -> Recipe:
    """ViT-L/32 on ImageNet-21K at 224, 90 epochs from scratch: 80.99 top-1 after fine-tuning at 384."""
    return _imagenet_21k("vit_large_patch32")


def vit_base_patch16_finetune_384() -> Recipe:
    """ViT-B/16 at 384, 20,000 updates from its weights of ImageNet-1K at 224: 77.91 top-1."""
    return _from_1k("vit_base_patch16")


def vit_base_patch32_finetune_384() -> Recipe:
    """ViT-B/32 at 384, 20,000 updates from its weights of ImageNet-1K at 224: 73.38 top-1."""
    return _from_1k("vit_base_patch32")


def vit_large_patch16_finetune_384() -> Recipe:
    """ViT-L/16 at 384, 20,000 updates from its weights of ImageNet-1K at 224: 76.53 top-1."""
    return _from_1k("vit_large_patch16", dropout=0.1)


def vit_large_patch32_finetune_384() -> Recipe:
    """ViT-L/32 at 384, 20,000 updates from its weights of ImageNet-1K at 224: 71.16 top-1."""
    return _from_1k("vit_large_patch32")


def vit_base_patch16_21k_finetune_384() -> Recipe:
    """ViT-B/16 at 384, 20,000 updates on 1K from its weights of ImageNet-21K: 83.97 top-1."""
    return _from_21k("vit_base_patch16")


def vit_base_patch32_21k_finetune_384() -> Recipe:
    """ViT-B/32 at 384, 20,000 updates on 1K from its weights of ImageNet-21K: 81.28 top-1."""
    return _from_21k("vit_base_patch32")


def vit_large_patch16_21k_finetune_384() -> Recipe:
    """ViT-L/16 at 384, 20,000 updates on 1K from its weights of ImageNet-21K: 85.15 top-1."""
    return _from_21k("vit_large_patch16", dropout=0.1)


def vit_large_patch32_21k_finetune_384() -> Recipe:
    """ViT-L/32 at 384, 20,000 updates on 1K from its weights of ImageNet-21K: 80.99 top-1."""
    return _from_21k("vit_large_patch32")


def finetuning(
    name: str, model: ModelChoice, *, inputs: Preprocess, augment: Augment, lr: float, about: About
) -> Recipe:
    """20,000 updates of 512 pictures of ImageNet-1K by SGD, which are eight epochs; 500 of them warm up."""
    return classification(
        model,
        name=name,
        inputs=inputs,
        augment=augment,
        optim=Optim(kind="sgd", lr=lr, momentum=0.9, weight_decay=0.0, clip_grad=1.0),
        schedule=Schedule(kind="cosine", clock="update", epochs=8, warmup_epochs=0.2, warmup_lr=0.0, min_lr=0.0),
        batch_size=512,
        about=about,
    )


def _imagenet(model: str) -> Recipe:
    """10,000 updates of warm-up are 32 epochs."""
    return _pretraining(
        model,
        ModelChoice(name=model, dropout=0.1, head_scale=0.0),
        Optim(lr=3e-3, weight_decay=0.3, clip_grad=1.0),
        Schedule(kind="cosine", clock="update", epochs=300, warmup_epochs=32, warmup_lr=0.0, min_lr=0.0),
        command(model),
        after=TABLE[model][1],
    )


def _imagenet_21k(model: str) -> Recipe:
    """10,000 updates of warm-up are 2.9 epochs. Before the head is a layer as wide as the model; nothing is clipped."""
    name, representation = f"{model}_21k", {"representation": TABLE[model][0]}
    return _pretraining(
        name,
        ModelChoice(name=model, dropout=0.1, head_scale=0.0, config=representation),
        Optim(lr=1e-3, weight_decay=0.03, clip_grad=0.0),
        Schedule(kind="linear_to_min", clock="update", epochs=90, warmup_epochs=2.9, warmup_lr=0.0, min_lr=1e-5),
        command(name, data="IMAGENET_21K"),
        after=TABLE[model][2],
    )


def _pretraining(
    name: str, model: ModelChoice, optim: Optim, schedule: Schedule, command: str, *, after: float
) -> Recipe:
    return classification(
        model,
        name=name,
        inputs=PICTURES,
        augment=AUGMENT,
        optim=optim,
        schedule=schedule,
        batch_size=4096,
        about=About(
            paper=PAPER,
            command=f"{command} --accumulate 8",
            hardware="official: TPU v3 in the cloud; for instance 8 GPUs, 64 pictures each and eight micro-steps",
            expected=f"after fine-tuning at 384, {top1(after, 'table 5')}",
            notes=f"{ADAM} The warm-up takes the paper's 10,000 updates of 4,096 pictures.",
        ),
    )


def _from_1k(model: str, *, dropout: float = 0.0) -> Recipe:
    recipe = _finetuning(f"{model}_finetune_384", model, dropout, TABLE[model][1])
    return starting_from(recipe, model, "the paper's own, which were not published")


def _from_21k(model: str, *, dropout: float = 0.0) -> Recipe:
    size, patch = model.removeprefix("vit_").split("_patch")
    file = f"imagenet21k/ViT-{size[0].upper()}_{patch}.npz of the official bucket"
    recipe = _finetuning(f"{model}_21k_finetune_384", model, dropout, TABLE[model][2])
    return starting_from(recipe, f"{model}_21k", file)


def _finetuning(name: str, model: str, dropout: float, percent: float) -> Recipe:
    return finetuning(
        name,
        ModelChoice(name=model, dropout=dropout, head_scale=0.0),
        inputs=PICTURES_384,
        augment=AUGMENT,
        lr=0.03,
        about=About(
            paper=PAPER,
            command=command(name),
            hardware="official: TPU v3 in the cloud; for instance 8 GPUs, 64 pictures each",
            expected=top1(percent, "table 5"),
            notes=f"The paper takes the best rate of 0.003, 0.01, 0.03 and 0.06; 0.03 is the official default. {HEAD}",
        ),
    )
