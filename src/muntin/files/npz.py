"""numpy's .npz files: a zip archive with one .npy entry for each array, as JAX code saves its weights.

They are read without numpy's own reader, which can unpickle: only known headers are accepted, and compared with the
bytes of their entry before memory is allocated. numpy.savez writes files that can be read here, numpy.savez_compressed
does not.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy
import torch
from torch import Tensor

from .archives import entries

PREFIXES = ("opt/target/", "params/")  # what training code puts before the weights, beside its optimizer
MAX_AXES = 8
_DTYPES = {
    "f2": torch.float16,
    "f4": torch.float32,
    "f8": torch.float64,
    "V2": torch.bfloat16,  # numpy has no name for it; JAX code saves it as two bytes without meaning
    "i1": torch.int8,
    "i2": torch.int16,
    "i4": torch.int32,
    "i8": torch.int64,
    "u1": torch.uint8,
    "b1": torch.bool,
}
_MAGIC = re.compile(rb"\x93NUMPY[\x01-\x03]\x00")
_HEADER = re.compile(r"\{'descr': '([^']*)', 'fortran_order': (True|False), 'shape': \(([0-9, ]{0,200})\),? *\} *\n?")
_LONGEST = 4096  # bytes of a header; numpy's own have some hundred


def read_npz(path: Path) -> dict[str, Tensor]:
    """All arrays of the file. If there are weights under one of `PREFIXES`, only those, without the prefix.

    Raises ValueError with the reason in a few words for a damaged file, a compressed one, and for arrays of Python
    objects, which only unpickling could read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = entries(archive, path.stat().st_size, "numpy.savez")
            if strange := next((name for name in sizes if not name.endswith(".npy")), None):
                raise ValueError(f"it is a zip archive that numpy.savez did not write: it has a part {strange}")
            names = {name.removesuffix(".npy"): name for name in sizes}
            prefix = next((p for p in PREFIXES if any(name.startswith(p) for name in names)), "")
            return {
                name.removeprefix(prefix): _array(archive, entry, sizes[entry])
                for name, entry in names.items()
                if name.startswith(prefix)
            }
    except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError, RuntimeError) as error:
        raise ValueError(f"its zip archive is damaged: {error}") from error


def write_npz(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write the tensors as numpy.savez does; bfloat16 numbers become two bytes without a type."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, tensor in tensors.items():
            brain = tensor.dtype == torch.bfloat16
            array = tensor.view(torch.int16).numpy().view("V2") if brain else tensor.numpy()
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                numpy.lib.format.write_array(entry, array, allow_pickle=False)


def _array(archive: zipfile.ZipFile, name: str, size: int) -> Tensor:
    """One entry of `size` bytes."""
    with archive.open(name) as entry:
        kind, rows_first, shape, read = _header(entry, name)
        if kind.endswith("O"):
            raise ValueError(f"its array {name} holds Python objects, which only unpickling reads")
        dtype = _DTYPES.get(kind.lstrip("<|="))
        if dtype is None:
            raise ValueError(f"its array {name} is of numpy's type {kind!r}, which no weights have")
        if math.prod(shape) * dtype.itemsize != size - read:
            raise ValueError(f"its array {name} is {shape} by its header, and has {size - read} bytes; it is damaged")
        data = bytearray(entry.read())  # to the end, where zipfile compares the checksum
    if not data:
        return torch.empty(shape, dtype=dtype)
    flat = torch.frombuffer(data, dtype=dtype)
    return flat.view(shape) if rows_first else flat.view(shape[::-1]).permute(*reversed(range(len(shape))))


def _header(entry: IO[bytes], name: str) -> tuple[str, bool, tuple[int, ...], int]:
    """Type, whether rows come before columns, shape, and the bytes read so far."""
    magic = entry.read(8)
    if not _MAGIC.fullmatch(magic):
        raise ValueError(f"its part {name} is no array")
    wide = 2 if magic[6] == 1 else 4
    length = int.from_bytes(entry.read(wide), "little")
    if length > _LONGEST:
        raise ValueError(f"the header of its array {name} has {length} bytes, more than {_LONGEST}")
    found = _HEADER.fullmatch(entry.read(length).decode("latin-1"))
    if found is None:
        raise ValueError(f"the header of its array {name} does not describe a plain array")
    sides = found[3].replace(" ", "").removesuffix(",")
    if (sides and not all(0 < len(side) < 14 for side in sides.split(","))) or sides.count(",") >= MAX_AXES:
        raise ValueError(f"its array {name} is of shape ({found[3]}), which no weights have")
    shape = tuple(map(int, sides.split(","))) if sides else ()
    return found[1], found[2] == "False", shape, 8 + wide + length
