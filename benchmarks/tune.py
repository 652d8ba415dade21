"""Measure which operators tuned code computes faster than PyTorch's own, and write muntin's table for it.

    python benchmarks/tune.py [avx2] [avx512] [avx512_bf16] [amx]

Without names: every set that this processor has; smaller ones than its own are measured in processes that see no
others. Each case of `muntin.ops.fast.choice` is measured on several shapes of known models, on one thread, in CPU time:
both ways take turns until their shortest times stand still. A case leaves the way it had before there was a table only
where the other one wins by more than `MARGIN`, in the geometric mean of its shapes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from tables import load, versions
from timing import Job, interleave
from torch import Tensor

from muntin.ops.fast import choice, depthwise, linear, window_attention
from muntin.ops.fast.choice import BEFORE_THE_TABLE, CASES, PYTORCH, TABLE, Case, Choice, case_name
from muntin.ops.windows import Windows

FORMAT = "muntin-choices/1"
MARGIN = 0.03
STILL = 0.01  # shortest times that shrink by less than this share in a turn stand still
TURN = 0.04  # seconds of each way in a turn, about
ENOUGH = 1.0  # seconds of both ways in all turns; of slow shapes, that is one turn

# From small to large. What a process sees of its processor: kernels of PyTorch, oneDNN, MKL (on Intel's processors).
SETS: dict[str, dict[str, str]] = {
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "avx512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    "avx512_bf16": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"},
    "amx": {},
}

MAPS = (  # (tokens, channels) of the maps of Swin-T at 224 pixels, of ViT-S, and of batches of them
    *(
        (batch * tokens, C)
        for batch in (1, 8)
        for tokens, C in ((3136, 96), (784, 192), (196, 384), (49, 768), (197, 384))
    ),
    *((32 * tokens, C) for tokens, C in ((3136, 96), (784, 192), (196, 384))),
)
CONVOLUTIONS = (  # (channels, side, kernel, stride): ConvNeXt-T, kernels of 5, CvT-13, and large kernels with strides
    *((C, side, 7, 1) for C, side in ((96, 56), (192, 28), (384, 14), (768, 7))),
    *((96, 56, 5, 1), (192, 28, 5, 1)),
    *((C, side, 3, stride) for stride in (1, 2) for C, side in ((64, 56), (192, 28), (384, 14))),
    *((96, 56, 7, 2), (192, 28, 5, 2)),
)
WINDOWS = (
    (56, 7, 96),
    (28, 7, 192),
    (14, 7, 384),
    (64, 8, 96),
    (16, 8, 384),
    (48, 12, 192),
    (64, 16, 96),
    (48, 24, 192),
)


def linears() -> Iterator[tuple[Case, Job]]:
    """The four linear maps of a block, without gradients."""
    for dtype in (torch.float32, torch.bfloat16):
        for tokens, C in MAPS:
            for c_in, c_out, gelu in ((C, 3 * C, None), (C, C, None), (C, 4 * C, "none"), (4 * C, C, None)):
                x, weight, bias = (
                    torch.randn(*size, dtype=dtype) for size in ((tokens, c_in), (c_out, c_in), (c_out,))
                )
                case = ("linear", dtype, linear.shape_class(x, weight, gelu))
                yield case, _without_gradients(linear.linear, x, weight / c_in**0.5, bias, gelu)


def convolutions() -> Iterator[tuple[Case, Job]]:
    """Depthwise convolutions with all their gradients."""
    for dtype in (torch.float32, torch.bfloat16):
        for C, side, kernel, stride in CONVOLUTIONS:
            for batch in (1, 8):
                x = torch.randn(batch, C, side, side, dtype=dtype).contiguous(memory_format=torch.channels_last)
                parameters = torch.randn(C, 1, kernel, kernel, dtype=dtype), torch.randn(C, dtype=dtype)
                case = ("depthwise gradient", dtype, depthwise.shape_class(parameters[0], stride))
                yield case, _with_gradients(depthwise.depthwise_conv, x, *parameters, stride=stride)


def windows() -> Iterator[tuple[Case, Job]]:
    """Window attention without gradients, shifted, with dot products and with the cosine."""
    for side, window, C in WINDOWS:
        for batch in (1, 8):
            for logit_scale in (None, torch.full((C // 32, 1, 1), 2.0)):
                qkv, table = torch.randn(batch, side, side, 3 * C), torch.randn((2 * window - 1) ** 2, C // 32)
                index = torch.randint(len(table), (window**2, window**2))
                w = Windows((window, window), (window // 2, window // 2), C // 32, 32**-0.5)
                case = ("window attention", torch.float32, window_attention.shape_class(window**2))
                attend = window_attention.fast_window_attention
                yield case, _without_gradients(attend, qkv, table, index, w, logit_scale=logit_scale)


def _without_gradients(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Job:
    return torch.inference_mode()(lambda: function(*args, **kwargs))


def _with_gradients(function: Callable[..., Tensor], *tensors: Tensor, stride: int) -> Job:
    trained = [tensor.requires_grad_() for tensor in tensors]
    gradient = torch.ones_like(function(*trained, stride))
    return lambda: torch.autograd.grad(function(*trained, stride), trained, gradient)


def ratio(job: Job, case: Case) -> float:
    """The time of tuned code over that of PyTorch's own operators, both the shortest that were seen."""
    ways = {"tuned": Choice("tuned", frozenset({case})), "own": PYTORCH}
    jobs = {name: _by(way, job) for name, way in ways.items()}
    shortest = _shortest(jobs, rounds=2, warmup=1)
    rounds, spent = min(50, max(3, round(TURN / max(shortest.values())))), 0.0
    while spent < ENOUGH:
        start = time.process_time()
        seen = _shortest(jobs, rounds)
        before, shortest = shortest, {name: min(shortest[name], seen[name]) for name in jobs}
        if all(shortest[name] > (1 - STILL) * before[name] for name in jobs):
            break
        spent += time.process_time() - start
    return shortest["tuned"] / shortest["own"]


def _shortest(jobs: dict[str, Job], rounds: int, warmup: int = 0) -> dict[str, float]:
    seconds = interleave(jobs, rounds=rounds, warmup=warmup, clock=time.process_time)
    return {name: min(times) for name, times in seconds.items()}


def _by(way: Choice, job: Job) -> Job:
    def by_this_way() -> None:
        with choice.use(way):
            job()

    return by_this_way


def measure() -> dict[str, float]:
    """The geometric mean of the ratios of each case, in this process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found: dict[Case, list[float]] = {case: [] for case in CASES}
    for jobs in (linears(), convolutions(), windows()):
        for case, job in jobs:
            found[case].append(ratio(job, case))
            print(f"  {case_name(case)}: {found[case][-1]:.3f}", file=sys.stderr, flush=True)
    return {case_name(case): round(math.exp(sum(map(math.log, each)) / len(each)), 3) for case, each in found.items()}


def row(name: str) -> dict[str, Any]:
    """The table's row for a set of instructions, measured in a process that sees no larger one."""
    print(f"{name}:", file=sys.stderr)
    command, before = [sys.executable, __file__, "--in-this-process"], load()
    run = subprocess.run(command, env=os.environ | SETS[name], stdout=subprocess.PIPE, text=True, check=True)
    ratios = json.loads(run.stdout)
    cpu = torch.cpu.get_capabilities().get("cpu_name", "unknown processor")
    limits = " ".join(f"{key}={value}" for key, value in SETS[name].items()) if name != choice.instruction_set() else ""
    note = f"{cpu}, {versions('torch')}, load average {before} before, {load()} after{limits and f'; {limits}'}"
    tuned = [case_name(case) for case in CASES if wins(ratios[case_name(case)], before=case in BEFORE_THE_TABLE.tuned)]
    return {"measured": note, "tuned": tuned, "ratios": ratios}


def wins(ratio: float, *, before: bool) -> bool:
    """Whether tuned code is to be used, given its time over that of PyTorch's own and whether it was used before."""
    return ratio < 1 + MARGIN if before else ratio < 1 - MARGIN


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = list(SETS)
    has = names[: names.index(choice.instruction_set()) + 1] if choice.instruction_set() in SETS else []
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"those to measure (here: {' '.join(has) or 'none'})")
    parser.add_argument("--in-this-process", action="store_true", help="print the ratios seen here; write no table")
    options = parser.parse_args()
    if options.in_this_process:
        print(json.dumps(measure()))
        return
    if not has or set(options.sets) - set(has):
        parser.error(f"this processor has the sets {', '.join(has) or '(none)'} of {', '.join(SETS)}")
    for name in options.sets or has:
        measured = row(name)
        table = json.loads(TABLE.read_text(encoding="utf-8"))  # again for each row, which takes minutes
        table["sets"][name] = measured
        TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {len(measured['tuned'])} of {len(CASES)} cases by tuned code; written to {TABLE}")


if __name__ == "__main__":
    main()
