"""Checks the two containers of torch.save before torch reads them: zip archives, and the older row of pickles.

Sizes, counts and names in a file are claims. The checks compare them with the file itself, so that reading needs no
more memory than the file has bytes. Every check raises ValueError with the reason in a few words.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

from .pickles import Claims, dry_run

MAX_ENTRIES = 100_000  # of an archive; one a tensor, and the largest Swin with its optimizer has some thousand
MAX_PICKLE = 16 << 20  # bytes; names and shapes of all tensors, some 200 kB for the largest Swin
MAX_COPIES = 4  # tensors may share memory, but all together be no larger than so many times the file
_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)  # what old files begin with


def check_zip(path: Path) -> Claims:
    """Check an archive of torch.save, its checksums and the requests of its pickle included."""
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            stored = entries(archive, size, "torch.save")
            name = _pickle_of(stored)
            if damaged := archive.testzip():
                raise ValueError(f"the checksum of its part {damaged} is wrong: it is damaged")
            program = archive.read(name)
    except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError, RuntimeError) as error:
        raise ValueError(f"its zip archive is damaged: {error}") from error
    claims = dry_run(io.BytesIO(program))
    for key, storage in claims.storages.items():
        if stored.get(f"{name.removesuffix('data.pkl')}data/{key}") != storage.nbytes:
            raise ValueError(f"its part data/{key} is missing or does not have its {storage.nbytes} bytes")
    _check_total(claims, size)
    return claims


def check_old(path: Path) -> Claims:
    """Check a file of torch.save before 1.6: pickles of magic number, version, system, content and keys; memory."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = io.BytesIO(file.read(MAX_PICKLE))
    if head.getvalue().startswith(b"PK"):
        raise ValueError("its zip archive is cut off")
    if not head.getvalue().startswith(_MAGIC):
        raise ValueError("it was not written by torch.save")
    head.seek(len(_MAGIC))
    dry_run(head), dry_run(head)
    claims = dry_run(head)
    dry_run(head)
    needed = head.tell() + sum(8 + storage.nbytes for storage in claims.storages.values())
    if needed > size:
        raise ValueError(f"it is cut off: {needed} bytes are described, {size} are there")
    _check_total(claims, size)
    return claims


def entries(archive: zipfile.ZipFile, size: int, writer: str) -> dict[str, int]:
    """Name -> bytes of every entry of an archive in a file of `size` bytes.

    writer: the function that has supposedly written it. It compresses nothing, so a few bytes stay a few bytes.
    """
    listed = archive.infolist()
    if len(listed) > MAX_ENTRIES:
        raise ValueError(f"its zip archive has {len(listed)} entries, more than {MAX_ENTRIES}")
    stored = {entry.filename: entry.file_size for entry in listed}
    if len(stored) != len(listed):
        raise ValueError("its zip archive has two entries of one name")
    for entry in listed:
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size or entry.flag_bits & 1:
            raise ValueError(f"its part {entry.filename} is compressed, which {writer} never does")
    # no comment and nothing before the first entry: every reader then finds the same table of contents
    if sum(stored.values()) > size or archive.comment or min((e.header_offset for e in listed), default=1):
        raise ValueError(f"its zip archive is not as {writer} writes it")
    return stored


def _pickle_of(stored: dict[str, int]) -> str:
    """The entry that describes all others."""
    found = [name for name in stored if name.count("/") == 1 and name.endswith("/data.pkl")]
    if any(name.endswith("/constants.pkl") for name in stored):
        raise ValueError("it is a TorchScript program, not weights")
    if len(found) != 1 or any(not name.startswith(found[0].removesuffix("data.pkl")) for name in stored):
        raise ValueError("it is a zip archive that torch.save did not write")
    if stored[found[0]] > MAX_PICKLE:
        raise ValueError(f"its description has {stored[found[0]]} bytes, more than {MAX_PICKLE}")
    return found[0]


def _check_total(claims: Claims, size: int) -> None:
    if claims.tensor_bytes > MAX_COPIES * size:
        raise ValueError(f"its tensors claim {claims.tensor_bytes} bytes, in a file of {size}")
