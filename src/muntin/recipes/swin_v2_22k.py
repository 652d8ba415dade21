"""Swin Transformer V2 (Liu et al., 2022, arXiv:2111.09883) on ImageNet-22K, and from there to ImageNet-1K.

Values: configs/swinv2/*_22k.yaml and *_22kto1k_ft.yaml of the official code. Against Swin's: 192 pixels and window 12
in pre-training, twice the weight decay, and larger windows afterwards, which the log-CPB serves without new weights.
"""

from __future__ import annotations

from .recipe import ModelChoice, Recipe
from .swin import finetuning, published
from .swin_22k import HEAD, pretraining
from .swin_v2 import PAPER


def swin_v2_base_window12_22k() -> Recipe:
    """Swin V2-B, window 12, on ImageNet-22K at 192, 90 epochs from scratch: 87.1 top-1 after fine-tuning at 384."""
    return _pretraining("swin_v2_base", after=f"at 384 {published(87.1, 98.2)}")


def swin_v2_large_window12_22k() -> Recipe:
    """Swin V2-L, window 12, on ImageNet-22K at 192, 90 epochs from scratch: 87.6 top-1 after fine-tuning at 384."""
    return _pretraining("swin_v2_large", after=f"at 384 {published(87.6, 98.3)}")


def swin_v2_base_window12to16_22k_finetune() -> Recipe:
    """Swin V2-B at 256 with window 16, 30 epochs on 1K from its weights of ImageNet-22K: 86.2 top-1."""
    return _finetuning("swin_v2_base", window=16, image_size=256, expected=published(86.2, 97.9))


def swin_v2_large_window12to16_22k_finetune() -> Recipe:
    """Swin V2-L at 256 with window 16, 30 epochs on 1K from its weights of ImageNet-22K: 86.9 top-1."""
    return _finetuning("swin_v2_large", window=16, image_size=256, expected=published(86.9, 98.0))


def swin_v2_base_window12to24_22k_finetune() -> Recipe:
    """Swin V2-B at 384 with window 24, 30 epochs on 1K from its weights of ImageNet-22K: 87.1 top-1."""
    return _finetuning("swin_v2_base", window=24, image_size=384, expected=published(87.1, 98.2))


def swin_v2_large_window12to24_22k_finetune() -> Recipe:
    """Swin V2-L at 384 with window 24, 30 epochs on 1K from its weights of ImageNet-22K: 87.6 top-1."""
    return _finetuning("swin_v2_large", window=24, image_size=384, expected=published(87.6, 98.3))


def _pretraining(size: str, *, after: str) -> Recipe:
    return pretraining(
        f"{size}_window12_22k",
        ModelChoice(name=f"{size}_window12", drop_path_rate=0.2),
        after=after,
        image_size=192,
        weight_decay=0.1,
        paper=PAPER,
    )


def _finetuning(size: str, *, window: int, image_size: int, expected: str) -> Recipe:
    model = f"{size}_window12to{window}"
    file = f"{size.replace('swin_v2', 'swinv2')}_patch4_window12_192_22k.pth"
    return finetuning(
        f"{model}_22k_finetune",
        ModelChoice(name=model, drop_path_rate=0.2, from_scratch=False),
        image_size=image_size,
        weights=f"runs/{size}_window12_22k --class-map FILE",
        starts_from=f"a run of {size}_window12_22k, or {file} of the official hub",
        expected=expected,
        paper=PAPER,
        notes=HEAD,
    )
