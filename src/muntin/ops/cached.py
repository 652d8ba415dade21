"""Tensors that follow from sizes alone, made once; and a context in which numbers are not rounded."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def cached(make: Callable[P, R]) -> Callable[P, R]:
    """Remember what a function of sizes and a device returned.

    Nothing is remembered while a graph is traced: its stand-in tensors must not outlive it. What is remembered is
    never an inference tensor, which autograd would refuse later.
    """

    @torch.inference_mode(False)
    def ordinary(*args: Any, **kwargs: Any) -> Any:
        with torch.device("cpu"):  # whatever default device the caller has set
            return make(*args, **kwargs)

    remembered = functools.lru_cache(maxsize=256)(ordinary)

    @functools.wraps(make)
    def choose(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.compiler.is_compiling() or torch._guards.detect_fake_mode() is not None:
            return make(*args, **kwargs)
        return remembered(*args, **kwargs)  # type: ignore[arg-type]

    return choose


def without_autocast(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Inside, operations keep the types of their inputs. (Autocast knows no meta device.)"""
    return contextlib.nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)
