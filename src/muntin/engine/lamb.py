"""LAMB (You et al., 2019, arXiv:1904.00962), the optimizer of DeiT III: Adam with steps as long as the weights are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class Lamb(torch.optim.Optimizer):
    """w <- w - lr * |w| / |u| * u for each tensor w, with u = m / (sqrt(v) + eps) + weight_decay * w.

    m and v are the bias-corrected running mean and square of the gradients. The ratio is 1 where |w| or |u| is 0, and
    in groups without weight decay. apex's FusedLAMB and timm's Lamb do the same by default, and first scale all
    gradients together to a norm of at most 1, which is `Optim.clip_grad` here.
    """

    def __init__(self, params: Iterable[dict[str, Any]], *, lr: float, betas: tuple[float, float], eps: float):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One update from the gradients; parameters without one stay."""
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            if weights:
                self._update(weights, group)

    def _update(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        states = [self._state(p) for p in weights]
        means, squares = [s["exp_avg"] for s in states], [s["exp_avg_sq"] for s in states]
        for state in states:
            state["step"] += 1
        steps = [int(state["step"]) for state in states]
        gradients = [p.grad for p in weights if p.grad is not None]

        torch._foreach_lerp_(means, gradients, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, [(1 - beta2**step) ** 0.5 for step in steps])
        torch._foreach_add_(roots, group["eps"])
        updates = torch._foreach_div(means, [1 - beta1**step for step in steps])
        torch._foreach_div_(updates, roots)
        if group["weight_decay"]:
            torch._foreach_add_(updates, weights, alpha=group["weight_decay"])
            torch._foreach_mul_(updates, _ratios(weights, updates))
        torch._foreach_add_(weights, updates, alpha=-group["lr"])

    def _state(self, weight: Tensor) -> dict[str, Tensor]:
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros(())  # on the CPU, where it is read
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight), torch.zeros_like(weight)
        return state


def _ratios(weights: list[Tensor], updates: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """|w| / |u| of each tensor; 1 where either is 0."""
    own, others = torch.stack(torch._foreach_norm(weights)), torch.stack(torch._foreach_norm(updates))
    return torch.where((own > 0) & (others > 0), own / others, 1.0).unbind()
