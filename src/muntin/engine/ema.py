"""Exponential moving average of a task's weights, kept as a second module."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Ema:
    """A copy of `task` whose whole state dict follows the trained one: e = decay * e + (1 - decay) * w.

    Buffers are averaged as weights are, integer ones (counters, indices) copied; the decay has no warm-up (timm
    ModelEma, as DeiT and ConvNeXt use it). `module` is the averaged task: in eval mode, without gradients. The tensors
    of `task` are looked up once, so it must keep them (load into them, never replace them).
    """

    def __init__(self, task: nn.Module, decay: float):
        self.decay = decay
        self.module = copy.deepcopy(task).eval().requires_grad_(False)
        # Tied weights stand under several names in a state dict; by address they are averaged once.
        averaged, trained = self.module.state_dict(), task.state_dict()
        pairs = list({averaged[name].data_ptr(): (averaged[name], trained[name]) for name in averaged}.values())
        self._averaged = [e for e, w in pairs if w.is_floating_point()]
        self._trained = [w for e, w in pairs if w.is_floating_point()]
        self._copies = [(e, w) for e, w in pairs if not w.is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Follow the trained weights by one step; one kernel for all floating-point tensors where the device has it."""
        torch._foreach_lerp_(self._averaged, self._trained, 1 - self.decay)
        for average, trained in self._copies:
            average.copy_(trained)
