"""What a model costs, counted without memory for its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from muntin.ops.windows import Size

from .build import build_classifier
from .names import entry


def multiply_adds(name: str, image_size: Size | None = None) -> int:
    """Count the multiply-adds of one picture through a classifier of 1000 classes."""
    with torch.device("meta"):
        model = build_classifier(name, 1000, {}).eval()
    return count_multiply_adds(model, (model.backbone.config.in_chans, *(image_size or entry(name).image_size)))


def count_multiply_adds(model: nn.Module, shape: Size) -> int:
    """Count the multiply-adds of one input of this shape, (C, *S), through a model on the meta device. Do not use the
    model afterwards.

    Papers print them as FLOPs; PyTorch's formulas give twice as many. The small network of a continuous position bias
    is not counted, as in the official count.
    """
    counter = _Counter()
    for place, module in model.named_modules():
        if place.endswith(".position"):
            module.register_forward_pre_hook(counter.pause)
            module.register_forward_hook(counter.resume)
        elif isinstance(module, nn.ModuleList):
            for block in module:
                block.forward = _counted_once(block, counter)
    with counter, torch.no_grad():
        model(torch.empty(1, *shape, device="meta"))
    return counter.flops // 2


def _counted_once(block: nn.Module, counter: _Counter) -> Callable[..., Any]:
    """The block's forward: computed for the first of all equal blocks and sizes, and remembered for the others."""
    forward, what = block.forward, repr(block)

    def once(x: Any, *given: Any) -> Any:
        key = (what, tuple(x.shape))
        if key not in counter.seen:
            before, out = counter.flops, forward(x, *given)
            if isinstance(out, Tensor):
                counter.seen[key] = (counter.flops - before, tuple(out.shape))
            return out
        flops, shape = counter.seen[key]
        counter.flops += flops
        return x.new_empty(shape)

    return once


class _Counter(TorchDispatchMode):
    """Adds up the FLOPs of every operation that PyTorch has a formula for.

    PyTorch's own counter also follows modules, which takes longer than all the rest.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops, self.counting = 0, True
        self.seen: dict[tuple, tuple[int, tuple[int, ...]]] = {}  # block and size -> its FLOPs, the size it gives

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula and self.counting:
            self.flops += formula(*args, **(kwargs or {}), out_val=out)
        return out

    def pause(self, *_: Any) -> None:
        self.counting = False

    def resume(self, *_: Any) -> None:
        self.counting = True
