"""Swin Transformer V2 (Liu et al., 2022, arXiv:2111.09883): ImageNet-1K at 256 from scratch, windows 8 and 16.

Training is Swin's own (configs/swinv2 of the official code); only the model and the input size differ.
"""

from __future__ import annotations

from .recipe import ModelChoice, Recipe
from .swin import imagenet, published

PAPER = "Swin Transformer V2: Scaling Up Capacity and Resolution, 2022, arXiv:2111.09883"


def swin_v2_tiny_window8() -> Recipe:
    """Swin V2-T, window 8, on ImageNet-1K at 256, 300 epochs from scratch: 81.8 top-1."""
    return _imagenet("swin_v2_tiny_window8", 0.2, published(81.8, 95.9))


def swin_v2_tiny_window16() -> Recipe:
    """Swin V2-T, window 16, on ImageNet-1K at 256, 300 epochs from scratch: 82.8 top-1."""
    return _imagenet("swin_v2_tiny_window16", 0.2, published(82.8, 96.2))


def swin_v2_small_window8() -> Recipe:
    """Swin V2-S, window 8, on ImageNet-1K at 256, 300 epochs from scratch: 83.7 top-1."""
    return _imagenet("swin_v2_small_window8", 0.3, published(83.7, 96.6))


def swin_v2_small_window16() -> Recipe:
    """Swin V2-S, window 16, on ImageNet-1K at 256, 300 epochs from scratch: 84.1 top-1."""
    return _imagenet("swin_v2_small_window16", 0.3, published(84.1, 96.8))


def swin_v2_base_window8() -> Recipe:
    """Swin V2-B, window 8, on ImageNet-1K at 256, 300 epochs from scratch: 84.2 top-1."""
    return _imagenet("swin_v2_base_window8", 0.5, published(84.2, 96.9))


def swin_v2_base_window16() -> Recipe:
    """Swin V2-B, window 16, on ImageNet-1K at 256, 300 epochs from scratch: 84.6 top-1."""
    return _imagenet("swin_v2_base_window16", 0.5, published(84.6, 97.0))


def _imagenet(name: str, drop_path_rate: float, metric: str) -> Recipe:
    model = ModelChoice(name=name, drop_path_rate=drop_path_rate)
    return imagenet(model, image_size=256, expected=metric, paper=PAPER)
