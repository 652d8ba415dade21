"""What tasks answer, as named tensors: one type for each kind of answer.

Drawing, records and report sections have one file for each kind and find it by `kind`; none of them looks at the task.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Classes(NamedTuple):
    """How much a sample looks like each class: logits (B, K), in fp32."""

    logits: Tensor
    heads: tuple[Tensor, ...] = ()  # what each head says alone, (B, K) each, where a model has several

    @property
    def kind(self) -> str:
        """The name of this kind of answer."""
        return "classes"


class Reconstruction(NamedTuple):
    """The pixels that a model predicts for the hidden parts of a picture."""

    predicted: Tensor  # (B, C, H, W), in fp32, on the scale of the target
    image: Tensor  # (B, C, H, W), normalised as the model gets it
    pixel_mask: Tensor  # (B, 1, H, W), 1 = hidden
    window: int  # side of the window that normalises the target, 0: the target is the picture as it is
    loss: Tensor  # scalar: mean distance to the target over the hidden pixels of the batch

    @property
    def kind(self) -> str:
        """The name of this kind of answer."""
        return "reconstruction"
