"""Freezing the first layers: they keep their weights and their eval mode."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import MethodType
from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def freeze(module: M, groups: Iterable[Sequence[nn.Module]]) -> M:
    """Stop training the modules of `groups`, a part of `module.layers()`. Returns `module`.

    `freeze(task, task.layers()[:3])` freezes the embedding and the first two blocks. Their parameters get no gradient,
    and they stay in eval mode (no drop path), even after `module.train()`. Freeze before you build the optimizer, which
    leaves frozen parameters out.

    Raises ValueError for a module that is no part of `module`.
    """
    parts = set(module.modules())
    for frozen in (part for group in groups for part in group):
        if frozen not in parts:
            raise ValueError(f"a {type(frozen).__name__} to be frozen is no part of the {type(module).__name__}")
        frozen.requires_grad_(False).eval()
        frozen.train = MethodType(_stay_in_eval, frozen)  # type: ignore[method-assign]
    return module


def _stay_in_eval(self: nn.Module, mode: bool = True) -> nn.Module:
    """Replaces the `train` of a frozen module, so that calls by its parents end here."""
    return self
