"""A Video Swin of muntin's parts (`scratch_video_swin.py`) and torchvision's `swin3d_t`: the same outputs."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from ..scratch_video_swin import VideoSwin, VideoSwinConfig
from .library import assert_equal, library, randomise

BLOCK = {"attn.relative_position_bias_table": "mix.position.table", "mlp.0.": "mlp.fc1.", "mlp.3.": "mlp.fc2."}


@cache
def theirs() -> Any:
    model = library("torchvision.models.video").swin3d_t(num_classes=1).eval()
    randomise(model, seed=0)
    return model


@cache
def ours() -> VideoSwin:
    model = VideoSwin(VideoSwinConfig()).eval()
    tensors = {ours: tensor for name, tensor in theirs().state_dict().items() if (ours := our_name(name))}
    model.load_state_dict(tensors)
    return model


def our_name(name: str) -> str | None:
    """None for the head, the norm before it, and what follows from sizes."""
    if name.startswith(("head.", "norm.")) or name.endswith("relative_position_index"):
        return None
    for one, other in (*BLOCK.items(), ("attn.", "mix.")):
        name = name.replace(one, other)
    name = re.sub(r"^features\.(\d*[02468])\.(\d+)\.", lambda m: f"stages.{int(m[1]) // 2}.{m[2]}.", name)
    return re.sub(r"^features\.(\d*[13579])\.", lambda m: f"merges.{int(m[1]) // 2}.", name)


def clip(*size: int) -> Tensor:
    return torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(8, 224, 224), (8, 112, 112), (16, 96, 128), (6, 64, 64)])
def test_outputs_are_torchvisions_also_where_maps_are_smaller_than_the_window(size):
    with torch.inference_mode():
        expected = theirs().features(theirs().patch_embed(clip(*size))).movedim(-1, 1)
        assert_equal(ours()(clip(*size)).levels[-1], expected)
