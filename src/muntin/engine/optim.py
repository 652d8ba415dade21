"""The papers' optimizers: which parameters decay, and how fast each depth and each part learns.

Weight decay skips 1-D parameters, biases, and what a module names in `no_weight_decay()` (Swin, optimizer.py).
Layer-wise decay of the learning rate (BEiT, SimMIM fine-tuning) follows `task.layers()`, never the names of parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import nn

from muntin.engine.lamb import Lamb
from muntin.engine.ranges import above_zero, listed, not_negative, require
from muntin.errors import UserError, unknown

Kind = Literal["adamw", "sgd", "lamb"]

FUSED_DEVICES = ("cpu", "cuda")


@dataclass(frozen=True, kw_only=True)
class Optim:
    """The optimizer."""

    kind: Kind = "adamw"
    """adamw; sgd, with momentum (ViT and CvT fine-tuning), whose weight decay is part of the gradient; lamb (DeiT III),
    whose published clip_grad is 1."""
    lr: float = 1e-3
    """Peak learning rate, stated for an update of `lr_batch` samples."""
    lr_batch: int = 0
    """Samples an update that `lr` is stated for: the rate used is lr * batch_size / lr_batch. 0: `lr` as it is."""
    weight_decay: float = 0.05
    """Weight decay; 1-D parameters, biases and what a module exempts (bias tables, position embeddings) have none."""
    betas: tuple[float, float] = (0.9, 0.999)
    """adamw and lamb: decay rates of the running mean and the running square of the gradients."""
    eps: float = 1e-8
    """adamw and lamb: added to the root of the running square."""
    momentum: float = 0.9
    """sgd: decay rate of the running sum of the gradients, in [0, 1)."""
    clip_grad: float = 5.0
    """Largest norm of all gradients together; longer ones are scaled down to it. 0: off."""
    layer_decay: float = 1.0
    """Each layer's learning rate as a factor of the next deeper layer's, in (0, 1]. 1: all learn alike."""
    lr_factors: tuple[tuple[str, float], ...] = ()
    """Learning rates of parts of the task as factors, such as `backbone 0.1`; other parts have 1. They multiply
    `layer_decay`."""

    def __post_init__(self) -> None:
        require(
            self,
            {
                "kind": (self.kind in get_args(Kind), listed(get_args(Kind))),
                "lr": not_negative(self.lr),
                "lr_batch": not_negative(self.lr_batch),
                "weight_decay": not_negative(self.weight_decay),
                "betas": (all(0 <= beta < 1 for beta in self.betas), "two numbers, each at least 0 and below 1"),
                "eps": above_zero(self.eps),
                "momentum": (0 <= self.momentum < 1, "at least 0 and below 1"),
                "clip_grad": not_negative(self.clip_grad),
                "layer_decay": (0 < self.layer_decay <= 1, "above 0 and at most 1 (1: off)"),
                "lr_factors": (self._factors_fit(), "names of parts, each once and with a finite factor above 0"),
            },
        )

    def _factors_fit(self) -> bool:
        names = [name for name, _ in self.lr_factors]
        return len(set(names)) == len(names) and all(0 < factor < math.inf for _, factor in self.lr_factors)

    def scale(self, batch_size: int) -> float:
        """What every learning rate is multiplied by for `batch_size` samples an update."""
        return batch_size / self.lr_batch if self.lr_batch else 1.0


def parameter_groups(task: nn.Module, optim: Optim) -> list[dict[str, Any]]:
    """The trainable parameters of `task`, each in exactly one group of {params, names, weight_decay, lr_scale, depth}.

    `depth` is the position in `task.layers()` of the group of modules that holds the parameter; parameters outside of
    `layers()`, such as the head's, come last. lr_scale = layer_decay ** (deepest - depth), so the deepest learns at the
    full rate, times the factor of the part of `task.parts()` that holds the parameter, if `lr_factors` names it.
    With layer_decay 1 all depths are alike. What is alike shares one group (and one kernel launch).
    Raises UserError where `lr_factors` names no part of the task; ValueError where `layers()` or `parts()` hold a
    parameter twice or one that is not the task's, and where `no_weight_decay()` names one that is not there.
    """
    names = {parameter: name for name, parameter in task.named_parameters()}
    depth_of, factor_of = _depths(task, names), _factors(task, optim, names)
    exempt = _exempt(task)
    deepest = max([*depth_of.values(), 0])
    groups: dict[tuple[int, bool, float], dict[str, Any]] = {}
    for parameter, name in names.items():
        if not parameter.requires_grad:
            continue
        decays = parameter.ndim > 1 and name.rpartition(".")[2] != "bias" and parameter not in exempt
        depth = depth_of[parameter] if optim.layer_decay != 1 else deepest
        factor = factor_of.get(parameter, 1.0)
        group = groups.setdefault(
            (depth, decays, factor),
            {
                "params": [],
                "names": [],
                "weight_decay": optim.weight_decay if decays else 0.0,
                "lr_scale": optim.layer_decay ** (deepest - depth) * factor,
                "depth": depth,
            },
        )
        group["params"].append(parameter)
        group["names"].append(name)
    if not groups:
        raise UserError("nothing to train: every parameter is frozen (requires_grad is False)")
    return [groups[key] for key in sorted(groups)]


def build_optimizer(task: nn.Module, optim: Optim, batch_size: int) -> torch.optim.Optimizer:
    """The optimizer over `parameter_groups`, each group at its own peak rate; torch's in one fused kernel a group where
    there is one.

    batch_size: samples an update, over all processes and micro-steps.
    """
    peak = optim.lr * optim.scale(batch_size)
    groups = [group | {"lr": peak * group["lr_scale"]} for group in parameter_groups(task, optim)]
    fused = all(p.device.type in FUSED_DEVICES and p.is_floating_point() for g in groups for p in g["params"])
    match optim.kind:
        case "adamw":
            return torch.optim.AdamW(groups, lr=peak, betas=optim.betas, eps=optim.eps, fused=fused)
        case "sgd":
            return torch.optim.SGD(groups, lr=peak, momentum=optim.momentum, fused=fused)
        case "lamb":
            return Lamb(groups, lr=peak, betas=optim.betas, eps=optim.eps)


def _depths(task: nn.Module, names: dict[nn.Parameter, str]) -> dict[nn.Parameter, int]:
    depth_of: dict[nn.Parameter, int] = {}
    layers: list[list[nn.Module]] = task.layers()  # type: ignore[operator]
    for depth, modules in enumerate(layers):
        for parameter in (p for module in modules for p in module.parameters()):
            if parameter not in names:
                raise ValueError(
                    f"layers()[{depth}] holds a parameter of shape {tuple(parameter.shape)} that is not the task's"
                )
            if depth_of.setdefault(parameter, depth) != depth:
                raise ValueError(f"{names[parameter]} is in layers()[{depth_of[parameter]}] and in layers()[{depth}]")
    return {parameter: depth_of.get(parameter, len(layers)) for parameter in names}


def _factors(task: nn.Module, optim: Optim, names: dict[nn.Parameter, str]) -> dict[nn.Parameter, float]:
    """The factors of the parameters that are in a part which `lr_factors` names."""
    parts: dict[str, nn.Module] = task.parts() if optim.lr_factors else {}  # type: ignore[operator]
    part_of: dict[nn.Parameter, str] = {}
    factor_of: dict[nn.Parameter, float] = {}
    for part, factor in optim.lr_factors:
        if part not in parts:
            raise unknown("part", part, parts, see="lr_factors names the parts of the task that is trained")
        for parameter in parts[part].parameters():
            if parameter not in names:
                shape = tuple(parameter.shape)
                raise ValueError(f"parts()['{part}'] holds a parameter of shape {shape} that is not the task's")
            if part_of.setdefault(parameter, part) != part:
                raise ValueError(f"{names[parameter]} is in parts()['{part_of[parameter]}'] and in parts()['{part}']")
            factor_of[parameter] = factor
    return factor_of


def _exempt(task: nn.Module) -> set[nn.Parameter]:
    """The parameters that some module of `task` names in its `no_weight_decay()`."""
    found = set()
    for place, module in task.named_modules():
        own_names = getattr(module, "no_weight_decay", None)
        if own_names is None:
            continue
        own = dict(module.named_parameters())
        for name in own_names():
            if name not in own:
                raise ValueError(
                    f"{place or type(task).__name__}.no_weight_decay() names '{name}', which it does not have"
                )
            found.add(own[name])
    return found
