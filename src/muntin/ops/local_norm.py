"""Pixels on the scale of their neighbourhood: SimMIM's target for Swin V2 (arXiv:2111.09886, official code)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .cached import without_autocast


def normalise_locally(image: Tensor, window: int) -> Tensor:
    """Each pixel minus the mean of its window, over its unbiased standard deviation: (B, C, H, W) -> (B, C, H, W).

    Border windows count only pixels of the picture. In fp32: the variance is a small difference of large numbers.
    """
    mean, deviation = _around(image, window)
    return (image - mean) / deviation


def painted(values: Tensor, image: Tensor, window: int) -> Tensor:
    """`normalise_locally` undone with the windows of `image`: values on its scale to pixels, all (B, C, H, W).

    window: 0 for values that are pixels already.
    """
    if not window:
        return values
    mean, deviation = _around(image, window)
    return values * deviation + mean


def _around(image: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Mean and unbiased standard deviation of the window around each pixel, each (B, C, H, W)."""
    with without_autocast(image.device):
        mean, square = _window_means(image, window, inside=True), _window_means(image.square(), window, inside=True)
        inside = _window_means(torch.ones_like(image[:1, :1]), window, inside=False) * window**2
        variance = ((square - mean.square()) * inside / (inside - 1)).clamp_min(0)
        return mean, (variance + 1e-6).sqrt()


def _window_means(x: Tensor, window: int, *, inside: bool) -> Tensor:
    """Mean of the window around each pixel, of those in the picture or, with `inside` off, of all with 0 beyond it.

    Rows first, then columns: a window of 47 x 47 costs 94 numbers a pixel so, where both at once cost 2,209.
    """
    pad = window // 2
    rows = F.avg_pool2d(x, (window, 1), 1, (pad, 0), count_include_pad=not inside)
    return F.avg_pool2d(rows, (1, window), 1, (0, pad), count_include_pad=not inside)
