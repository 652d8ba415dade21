"""Backbones inside larger models: whose file it is, and which tensors belong to the backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

_MOBY = ("encoder_k", "projector", "projector_k", "predictor", "queue1", "queue2", "queue_ptr")


class Unwrapped(NamedTuple):
    """The keys of a file, sorted."""

    inside: dict[str, str]  # key of the file -> key in the backbone's own layout
    aside: dict[str, str]  # key of the file -> why it does not belong to the backbone
    wrapped_in: str  # what the backbone is a part of, "" where the file is the backbone's own
    layout: str | None


def unwrap(keys: Iterable[str], layout_of: Callable[[set[str]], str | None]) -> Unwrapped:
    """Find the backbone in a file. layout_of: the layout of a backbone's own keys, None if they are of no backbone.

    Strips the `module.` of distributed training, the `backbone.` of detectors and segmenters and the `encoder.` of
    MoBY. Tensors of an unknown part stay inside, so that the next step reports them.
    """
    keys = list(keys)
    bare = {k: k.removeprefix("module.") for k in keys}
    if layout := layout_of(set(bare.values())):
        return Unwrapped(bare, {}, "", layout)
    for prefix, known, title, reason in (
        ("backbone.", _is_part_of_detector, _detector, "neck and heads around the backbone"),
        ("encoder.", _MOBY.__contains__, _moby, "other branches of self-supervised pre-training"),
    ):
        # `head.*` beside a backbone is a classifier's, which the backbone's own layout may know
        inside = {k: name.removeprefix(prefix) for k, name in bare.items() if not known(name.split(".")[0])}
        if layout := layout_of({name for k, name in inside.items() if bare[k].startswith(prefix)}):
            parts = list(dict.fromkeys(name.split(".")[0] for name in bare.values()))
            listed = ", ".join(f"{part}.*" for part in parts)
            wrapped_in = f"{title(parts)} ({listed})" if len(parts) > 1 else f"a file of {listed} alone"
            return Unwrapped(inside, {k: reason for k in keys if k not in inside}, wrapped_in, layout)
    return Unwrapped(bare, {}, "", None)


def _is_part_of_detector(part: str) -> bool:
    return part.endswith("_head") or part in ("neck", "data_preprocessor")


def _detector(parts: list[str]) -> str:
    if "decode_head" in parts:
        return "a segmenter"
    return "a classifier" if "head" in parts else "a detector"


def _moby(parts: list[str]) -> str:
    return "MoBY pre-training"
