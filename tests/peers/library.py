"""What the tests beside timm, torchvision and transformers share: getting at them, and comparing with them."""

from __future__ import annotations

import math
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from muntin.data.transforms import vision

CLASSES = 5


@cache
def library(name: str) -> Any:
    """An optional library, imported after the shim for a torchvision that does not fit the torch beside it."""
    for needed in ("torchvision", name.split(".")[0]):
        if find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed: pip install 'muntin[train,peers]'")
    vision.functional()
    return import_module(name)


def assert_equal(actual: Tensor, expected: Tensor) -> None:
    """To 1e-5 of the largest entry, but at least 1."""
    allowed = 1e-5 * max(1.0, expected.abs().max().item())
    assert expected.std() > 0.1, "all outputs are alike, which would prove nothing"
    assert (actual - expected).abs().max().item() <= allowed


def picture(size: tuple[int, int]) -> Tensor:
    return torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))


def logits(model: nn.Module, image: Tensor) -> Tensor:
    """transformers answers with a record, everybody else with the logits."""
    with torch.inference_mode():
        answer = model.eval()(image)
    return answer if isinstance(answer, Tensor) else answer.logits


@torch.no_grad()
def randomise(model: nn.Module, seed: int) -> None:
    """Every parameter and its neighbours differ, at a size that keeps the signal: norms about 1, biases about 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("logit_scale"):
            # far below the limit of 100, at which transformers' V2, which adds the shift mask twice, would show
            parameter.copy_(math.log(10) + 0.2 * noise)
        elif "norm" in name and name.endswith("weight"):
            parameter.copy_(1 + 0.2 * noise)
        elif parameter.ndim == 1 or name.endswith("table"):
            parameter.copy_(0.2 * noise)
        else:
            parameter.copy_(noise / math.sqrt(parameter[0].numel()))
