"""Where tuned code replaces PyTorch's own: a choice, measured once for a set of instructions.

No clock runs in a training or a prediction: `choices.json` says for each operator, type of numbers and class of shapes
which way was faster. `benchmarks/tune.py` measures and writes it.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

TABLE = Path(__file__).with_name("choices.json")

Case = tuple[str, torch.dtype, str]  # operator, type of the numbers, class of shapes

LINEAR = tuple(f"{kind}, {size}" for kind in ("narrows", "widens", "GELU") for size in ("small", "large"))
DEPTHWISE = tuple(f"{kernel} kernel, {stride}" for kernel in ("small", "large") for stride in ("dense", "strided"))
WINDOWS = ("small windows", "large windows")

CASES: tuple[Case, ...] = (
    *(("linear", dtype, shape) for dtype in (torch.float32, torch.bfloat16) for shape in LINEAR),
    *(("depthwise gradient", dtype, shape) for dtype in (torch.float32, torch.bfloat16) for shape in DEPTHWISE),
    *(("window attention", torch.float32, shape) for shape in WINDOWS),  # in bf16 the more exact way is taken
)


class Choice(NamedTuple):
    """The cases that are computed by tuned code; all others are computed by PyTorch's own operators."""

    name: str
    tuned: frozenset[Case]

    def to_dict(self) -> dict[str, Any]:
        """As values that JSON can hold."""
        return {"name": self.name, "tuned": [case_name(case) for case in CASES if case in self.tuned]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Choice:
        """The inverse of `to_dict`; ignores cases that this version of muntin does not have."""
        known = {case_name(case): case for case in CASES}
        return cls(values["name"], frozenset(known[name] for name in values["tuned"] if name in known))


def case_name(case: Case) -> str:
    """Such as "linear, float32, GELU, small"."""
    operator, dtype, shape = case
    return f"{operator}, {str(dtype).removeprefix('torch.')}, {shape}"


PYTORCH = Choice("pytorch", frozenset())

# What muntin did on every processor before it had a table. Runs from that time are resumed with it.
BEFORE_THE_TABLE = Choice(
    "before the table",
    frozenset(
        case
        for case in CASES
        if case[0] == "linear"
        or (case[0] == "depthwise gradient" and case[2].startswith("large"))
        or case == ("depthwise gradient", torch.bfloat16, "small kernel, strided")
    ),
)

_used: Choice | None = None  # None: what was measured for this processor


def is_tuned(case: Case) -> bool:
    """Whether the choice in use computes this case by tuned code."""
    return case in in_use().tuned


def in_use() -> Choice:
    """The choice of the innermost `use`; outside of it, what was measured for this processor."""
    return _used or measured(instruction_set())


@contextlib.contextmanager
def use(choice: Choice) -> Iterator[None]:
    """Inside, every thread of this process uses this choice."""
    global _used
    before, _used = _used, choice
    try:
        yield
    finally:
        _used = before


@functools.cache
def instruction_set() -> str:
    """The largest set of this processor that the table may have a row for: "avx2", "avx512", "avx512_bf16" or "amx".

    Other processors have PyTorch's name, such as "default". Follows ATEN_CPU_CAPABILITY.
    """
    name = torch.backends.cpu.get_cpu_capability().lower()
    if name != "avx512":
        return name
    has = torch.cpu.get_capabilities()
    return next(
        (found for found, flag in {"amx": "amx_bf16", "avx512_bf16": "avx512_bf16"}.items() if has.get(flag)), name
    )


@functools.cache
def measured(instructions: str) -> Choice:
    """The choice that was measured to be fastest with a set of instructions; PyTorch's own operators if nobody
    measured it.
    """
    row = json.loads(TABLE.read_text(encoding="utf-8"))["sets"].get(instructions)
    return Choice.from_dict({"name": instructions} | row) if row else PYTORCH
