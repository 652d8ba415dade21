"""Where the members of a tar file are. This is read from its headers, each of which is checked; nothing is unpacked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from muntin.errors import UserError

BLOCK = 512
MEMBER_LIMIT = 2**20  # members of one file
NAME_LIMIT = 4096  # bytes of a member's name
EXTENDED_LIMIT = 2**20  # bytes of one extended (pax) header
TAIL_LIMIT = 2**20  # bytes after the end mark; tar fills its last record, usually up to 10 KiB

PLAIN, FOLDER, LONG_NAME, LONG_LINK, EXTENDED, GLOBAL, VOLUME = b"\x0007", b"5", b"L", b"K", b"x", b"g", b"V"
REFUSED = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"S": "a sparse file",
}


class Member(NamedTuple):
    """A plain file in a tar file: its name, which is never used as a path, and where its bytes are."""

    name: str
    offset: int
    size: int


def members(handle: BinaryIO, place: str) -> Iterator[Member]:
    """The plain files of the tar file `place`, in order, from a seekable handle; folders are passed over.

    Reads ustar, GNU and pax headers. Between two members the caller may read from the handle.
    Raises `UserError` naming the file and the byte where it is cut off (a missing end mark counts), damaged, or holds
    links, devices, sparse files, or more than the limits above.
    """
    total = handle.seek(0, os.SEEK_END)
    start, told = 0, _Told()
    for _ in range(MEMBER_LIMIT):
        handle.seek(start)
        block = handle.read(BLOCK)
        if len(block) < BLOCK:
            raise _cut_off(place, total, "the end mark of a tar file is missing")
        if not any(block):
            if total - start > TAIL_LIMIT:
                raise UserError(
                    f"{place} has {total - start:,} bytes after the end mark at byte {start:,}: tar files cannot be "
                    "glued together; keep them apart, or pack the files again"
                )
            return
        kind, size, name = _header(block, place, start)
        offset = start + BLOCK
        if kind in (LONG_NAME, LONG_LINK, EXTENDED, GLOBAL):
            if size > EXTENDED_LIMIT:
                raise _damaged(place, start, f"an extended header of {size:,} bytes, {EXTENDED_LIMIT:,} are allowed")
            if offset + size > total:
                raise _cut_off(place, total, "inside an extended header")
            if kind == LONG_NAME:
                told = told._replace(name=handle.read(size).split(b"\0")[0])
            elif kind == EXTENDED:
                told = _pax(handle.read(size), told, place, start)
        else:
            name, size = told.name or name, size if told.size is None else told.size
            told = _Told()
            text = name.decode("utf-8", "backslashreplace")
            if len(name) > NAME_LIMIT:
                raise _damaged(place, start, f"a name of {len(name):,} bytes, {NAME_LIMIT:,} are allowed")
            if kind in REFUSED or kind not in PLAIN + FOLDER + VOLUME:
                what = REFUSED.get(kind, f"of the unknown type {kind!r}")
                raise UserError(
                    f"{place}!{text} is {what}; a shard holds plain files only: pack it again "
                    "(tar --dereference --hard-dereference)"
                )
            if kind not in PLAIN or name.endswith(b"/"):
                size = 0
            elif offset + size > total:
                raise _cut_off(place, total, f"inside {text}")
            else:
                yield Member(text, offset, size)
        start = offset + -(-size // BLOCK) * BLOCK
    raise UserError(f"{place} has more than {MEMBER_LIMIT:,} members; pack it as several smaller shards")


class _Told(NamedTuple):
    """What extended headers say of the member that follows them."""

    name: bytes = b""
    size: int | None = None


def _header(block: bytes, place: str, start: int) -> tuple[bytes, int, bytes]:
    """Type, size and name of one header block."""
    if _number(block[148:156]) != sum(block) - sum(block[148:156]) + 8 * ord(" "):
        if start == 0:
            raise UserError(f"{place} is no tar file: its first {BLOCK} bytes are no header; is it compressed?")
        raise _damaged(place, start, "no header where one must be")
    size = _number(block[124:136])
    if size is None:
        raise _damaged(place, start, "a header whose size is no number")
    name, prefix = block[:100].split(b"\0")[0], block[345:500].split(b"\0")[0]
    if prefix and block[257:263] == b"ustar\0":
        name = prefix + b"/" + name
    return block[156:157], size, name


def _number(field: bytes) -> int | None:
    """An octal field, or GNU's binary one for large values; None where it is neither, or negative."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.split(b"\0")[0].strip()
    return None if digits.strip(b"01234567") else int(digits or b"0", 8)


def _pax(text: bytes, told: _Told, place: str, start: int) -> _Told:
    """Read the records `LENGTH KEY=VALUE\\n` of an extended header."""
    at = 0
    while at < len(text) and text[at]:
        length, space, _ = text[at : at + 12].partition(b" ")
        end = at + int(length) if space and length.isdigit() else 0
        key, equals, value = text[at + len(length) + 1 : end - 1].partition(b"=")
        if not equals or end > len(text) or text[end - 1 : end] != b"\n":
            raise _damaged(place, start, "an extended header that cannot be read")
        if key == b"path":
            told = told._replace(name=value)
        elif key == b"size":
            if not value.isdigit() or len(value) > 20:
                raise _damaged(place, start, "a size that is no number")
            told = told._replace(size=int(value))
        elif key.startswith(b"GNU.sparse"):
            raise UserError(f"{place} holds a sparse file (at byte {start:,}); pack it again without tar --sparse")
        at = end
    return told


def _cut_off(place: str, total: int, where: str) -> UserError:
    return UserError(f"{place} is cut off after {total:,} bytes, {where}; copy it again from its source")


def _damaged(place: str, start: int, what: str) -> UserError:
    return UserError(f"{place} is damaged at byte {start:,}: {what}; copy it again from its source")
