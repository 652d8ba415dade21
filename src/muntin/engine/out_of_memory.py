"""Running out of memory, as one sentence: what used it, and what to change."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from itertools import chain

import torch
from torch import Tensor, nn

from muntin.engine import parallel
from muntin.engine.ema import Ema
from muntin.engine.settings import Training

# of torch's RuntimeErrors; the last is oneDNN's, which builds a primitive together with the memory that it works in
CPU_WORDS = ("can't allocate memory", "not enough memory", "Cannot allocate memory", "could not create a primitive")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: on a device, in main memory, or in starting a process."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in CPU_WORDS)


def memory_report(
    task: nn.Module, optimizer: torch.optim.Optimizer, ema: Ema | None, training: Training, inputs: str
) -> str:
    """What training needs besides activations, as counted, and how to need less.

    inputs: of a micro-batch, in words (`batches.shapes`); empty if evaluation ran out of memory.
    """
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    moments = _bytes(chain.from_iterable(state.values() for state in optimizer.state.values()))
    parts = {
        "parameters": _bytes(task.state_dict().values()),
        "gradients": _bytes(trained),
        # its averages come with the first update; SGD has one
        "optimizer": moments or (2 if "betas" in optimizer.defaults else 1) * _bytes(trained),
        "EMA": _bytes(ema.module.state_dict().values()) if ema else 0,
    }
    counted = ", ".join(f"{name} {in_words(count)}" for name, count in parts.items() if count)
    ways = [] if training.checkpointing else ["--checkpointing (resumes this run)"]
    if training.micro_batch(parallel.world()) > 1:
        ways.append(f"--accumulate {2 * training.accumulate} (the same batch in smaller parts)")
    ways.append("a smaller batch_size, image_size or model")
    if not inputs:
        inputs, ways = "evaluation", ["a smaller --val-batch-size (resumes this run) or model"]
    return f"{counted}, the rest is activations of {inputs}; to need less: {', or '.join(ways)}"


def in_words(count: int) -> str:
    """Bytes: 1.5 GiB, 20.0 MiB."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)
