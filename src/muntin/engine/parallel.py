"""Several processes on one training run, and the wrappers a task is trained in.

`torchrun` starts the processes and tells each its place through environment variables; without it there is one process
and every function here does the same with nothing to exchange.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from muntin.errors import UserError

# Static shapes: with symbolic ones, guessed from the differing stages, compiling took minutes instead of seconds. Each
# layer counts its own recompilations (torch 2.13): together, blocks share 8 and those after the eighth stay uncompiled.
COMPILATION: dict[str, Any] = {"dynamic": False}
if "isolate_recompiles" in inspect.signature(torch.compile).parameters:
    COMPILATION["isolate_recompiles"] = True


def setup(device: str = "auto") -> torch.device:
    """Join the other processes, if `torchrun` started some, and return the device of this one.

    device: "cpu", "cuda", "cuda:1", ... or "auto": a CUDA device where there is one, else the CPU. Under torchrun,
    "cuda" is the device of this process's local rank. Processes talk by NCCL on CUDA, by gloo on the CPU. Call
    `cleanup` last.
    Raises UserError for a device that is not there.
    """
    kind = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    count, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    try:
        place = torch.device(kind)
    except RuntimeError:
        raise UserError(f"unknown device '{device}': it is auto, cpu, cuda or cuda:N") from None
    if place.type == "cuda":
        place = torch.device("cuda", local if count > 1 or place.index is None else place.index)
        available = torch.cuda.device_count()
        if place.index >= available:
            raise UserError(f"device '{place}' is not there: {available} CUDA devices found; choose another or use cpu")
        torch.cuda.set_device(place)
    if count > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    return place


def cleanup() -> None:
    """Leave the other processes; nothing to do for one process."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Number of this process, from 0. Only process 0 writes files and prints."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def all_sum(tensor: Tensor) -> Tensor:
    """`tensor` summed over all processes, in place; every process gets the sum."""
    if world() > 1:
        dist.all_reduce(tensor)
    return tensor


def gather(value: Any) -> list[Any]:
    """The values of all processes, in their order; every process gets the list."""
    if world() == 1:
        return [value]
    values: list[Any] = [None] * world()
    dist.all_gather_object(values, value)
    return values


def barrier() -> None:
    """Wait until every process is here."""
    if world() > 1:
        dist.barrier()


def agree(error: Exception | None, elsewhere: Exception) -> None:
    """Raise on every process if one has an error: its own error there, `elsewhere` on the others, so that none keeps
    waiting.
    """
    kind = "cuda" if dist.is_initialized() and dist.get_backend() == "nccl" else "cpu"
    failed = all_sum(torch.tensor(float(error is not None), device=kind))
    if error:
        raise error
    if failed:
        raise elsewhere


@torch.no_grad()
def broadcast(task: nn.Module) -> None:
    """Give every process the weights and buffers of process 0."""
    if world() > 1:
        for tensor in task.state_dict().values():
            dist.broadcast(tensor, 0)


def wrap(task: nn.Module, *, checkpointing: bool = False, compile: bool = False) -> nn.Module:
    """The task wrapped for training: call it as `wrapped(batch)`. The task itself keeps its parameter names.

    The order, from the inside out:

    1. Activation checkpointing, a layer of `task.layers()` at a time: only a layer's input is kept, the rest is
       computed again in the backward pass. Innermost, so that the compiler sees the recomputation and can plan it.
    2. torch.compile, a layer at a time: the compiler sees small graphs, and finds equal blocks in its own cache.
    3. Spreading over processes: DistributedDataParallel. Outermost, since it hooks the parameters' gradients and moves
       buckets of them while the backward pass runs. (Sharding takes this place: per layer first, then the task.)

    DDP leaves buffers alone, as Swin's official code does: they follow from sizes, or (batch norm) each process has its
    own. Every process must hold the same weights before (`broadcast`).
    """
    modules = list(dict.fromkeys(module for group in task.layers() for module in group))  # type: ignore[operator]
    for module in modules:
        if checkpointing:
            module.forward = _recomputing(module.forward)
        if compile:
            module.compile(**COMPILATION)
    if world() == 1:
        return task
    return DistributedDataParallel(task, broadcast_buffers=False, gradient_as_bucket_view=True, init_sync=False)


def unwrap(task: nn.Module) -> None:
    """Remove checkpointing and compilation from the layers: hooks then see every module, and the task can be copied."""
    for module in task.modules():
        forward = module.__dict__.get("forward")
        if hasattr(forward, "recomputes"):
            del module.forward
        module._compiled_call_impl = None


def _recomputing(forward: Callable[..., Any]) -> Callable[..., Any]:
    # A function of this file, not a partial of torch's: the compiler skips torch's own frames.
    def recompute(*args: Any, **kwargs: Any) -> Any:
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    recompute.recomputes = forward  # type: ignore[attr-defined]
    return recompute
