"""Finding where numbers stopped being finite, after a loss or gradient norm that is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from muntin.data import Batch
from muntin.tasks.task import Losses

FILES_SHOWN = 4


def loss_report(
    task: nn.Module,
    batches: Iterable[Batch],
    forward: Callable[[int, Batch], Losses],
) -> str:
    """The first of an update's batches with a non-finite loss, in words: its losses, first bad layer and files.

    Runs `forward(micro_step, batch)` again under watch, on the weights that gave the loss, for each batch until one is
    bad. Layers are looked through in the order of `task.layers()`. Empty when every loss is finite this time.
    """
    for micro, batch in enumerate(batches):
        with torch.no_grad(), _watched(task) as bad:
            losses = forward(micro, batch).terms
        if not all(_finite(loss) for loss in losses.values()):
            values = ", ".join(f"{name} {loss.item():g}" for name, loss in losses.items())
            return f"loss is not finite ({values}); {_where(task, batch, bad)}; {files(batch)}"
    return ""


def gradient_report(task: nn.Module, norm: float) -> str:
    """A non-finite norm of all gradients in words, with the first bad gradient as the backward pass meets them."""
    bad = [name for name, p in task.named_parameters() if p.grad is not None and not _finite(p.grad)]
    if not bad:
        return f"gradient norm is {norm:g} though every gradient is finite: their squares overflow"
    return (
        f"gradient norm is {norm:g} though the loss is finite; first parameter with a non-finite gradient, "
        f"going backward from the loss: {bad[-1]} ({len(bad)} in all)"
    )


def files(batch: Batch) -> str:
    """The first few file names of a batch, in words."""
    names = list(batch.names)
    if not names:
        return "the batch carries no file names"
    more = f", ... ({len(names)} in all)" if len(names) > FILES_SHOWN else ""
    return f"files: {', '.join(names[:FILES_SHOWN])}{more}"


def _where(task: nn.Module, batch: Batch, bad: set[nn.Module]) -> str:
    for name, value in [*batch.inputs.items(), *batch.target.items()]:
        if isinstance(value, Tensor) and not _finite(value):
            return f"the batch's '{name}' is not finite before any layer"
    names = {module: name for name, module in task.named_modules()}
    layers: list[list[nn.Module]] = task.layers()  # type: ignore[operator]
    for depth, group in enumerate(layers):
        for module in group:
            if module in bad:
                return f"first layer with a non-finite output: {names[module]} (depth {depth} of {len(layers)})"
    return "the output of every layer is finite, so it is the loss itself"


@contextmanager
def _watched(task: nn.Module) -> Iterator[set[nn.Module]]:
    """While open, the set fills with the modules of `task.layers()` that put out something not finite."""
    bad: set[nn.Module] = set()

    def look(module: nn.Module, inputs: Any, output: Any) -> None:
        if not all(_finite(tensor) for tensor in _tensors(output)):
            bad.add(module)

    hooks = [module.register_forward_hook(look) for group in task.layers() for module in group]  # type: ignore[operator]
    try:
        yield bad
    finally:
        for hook in hooks:
            hook.remove()


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)
