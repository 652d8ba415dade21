"""Turns a model's input back into a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def from_tensor(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> Image.Image:
    """A normalised image (C, H, W) back to a picture: grey for one or two channels, else the first three as RGB."""
    scale = torch.tensor(std, dtype=torch.float32).view(-1, 1, 1)
    offset = torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1)
    pixels = (image.detach().float().cpu() * scale + offset).nan_to_num().clamp(0, 1)
    bytes_ = (pixels * 255).round().to(torch.uint8).numpy()
    return Image.fromarray(bytes_[0] if len(bytes_) < 3 else np.ascontiguousarray(bytes_[:3].transpose(1, 2, 0)))
