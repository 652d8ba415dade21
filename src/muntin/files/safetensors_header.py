"""The head of a safetensors file: names, kinds, shapes and places of its tensors, compared with the file.

Eight bytes give the length of a JSON text, which describes the bytes after it without gaps. Only this text is read, so
a file of any size can be checked, and a damaged one cannot make muntin allocate memory.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

MAX_HEADER = 16 << 20  # bytes; some 200 kB for the largest Swin
ITEM_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 8),
}


class Described(NamedTuple):
    """One tensor, as the header has it."""

    dtype: str  # such as "F32"
    shape: tuple[int, ...]
    begin: int  # byte behind the header
    end: int


def read_header(path: Path) -> dict[str, Described]:
    """Every tensor of a file. Raises ValueError, with the reason in a few words, if header and file disagree."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError(f"its header should have {length} bytes, in a file of {size}: it is cut off or renamed")
        if length > MAX_HEADER:
            raise ValueError(f"its header has {length} bytes, more than {MAX_HEADER}")
        text = file.read(length)
    try:
        header = json.loads(text, object_pairs_hook=_once)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"its header is no JSON: {error}") from error
    if not isinstance(header, dict):
        raise ValueError("its header is no list of tensors")
    tensors = {name: _described(name, entry) for name, entry in header.items() if name != "__metadata__"}
    at = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin != at:
            raise ValueError(f"{name} begins at byte {tensor.begin}, and the tensor before it ends at {at}")
        at = tensor.end
    if at != size - 8 - length:
        raise ValueError(f"its tensors should have {at} bytes, and {size - 8 - length} are there")
    return tensors


def _described(name: str, entry: Any) -> Described:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)]} if len(entry) == 3:
            if dtype not in ITEM_BYTES:
                raise ValueError(f"{name} has the unknown kind {dtype}")
            if all(type(n) is int and n >= 0 for n in shape) and end - begin == math.prod(shape) * ITEM_BYTES[dtype]:
                return Described(dtype, tuple(shape), begin, end)
            raise ValueError(f"{name} is {dtype} of shape {shape}, which is not what bytes {begin} to {end} hold")
    raise ValueError(f"the description of {name} is damaged")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, in which each name appears once."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("its header names a tensor twice")
    return found
