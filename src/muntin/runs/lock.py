"""One run at a time in a folder: a lock beside it, which opens when the process that holds it has ended."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from muntin.errors import UserError

BUSY = (errno.EACCES, errno.EAGAIN)  # what the system says when another process holds the lock
SIGNATURE_LIMIT = 1000  # bytes
_held: set[Path] = set()  # by this process, to which the system would give them again


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Inside, no other process is in a `locked(out)`, on this machine or one that shares the file system.

    The lock is a file beside `out`, `.NAME.lock`, locked with `lockf`. The system removes the lock when the process
    ends, for whatever reason, and forked workers do not inherit it. If the file system has no locks, the process and
    machine named in the file count: a process of this machine that has ended loses it. Folders above `out` that had to
    be made are removed again if still empty.

    Raises UserError if another process holds it, and if nothing can be written there.
    """
    place = out.resolve()
    file = place.with_name(f".{place.name}.lock")
    if file in _held:
        raise UserError(f"another run of this process is at work in {out}; wait for it, or choose another --out")
    made = [folder for folder in file.parents if not folder.exists()]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = _take(file, out)
    except OSError as error:
        _remove_empty(made)
        raise UserError(f"{out} cannot be written: {error.strerror}; choose another --out") from None
    _held.add(file)
    try:
        yield
    finally:
        _held.discard(file)
        with contextlib.suppress(OSError):  # Windows removes no open file
            file.unlink()
        os.close(handle)
        _remove_empty(made)


def _take(file: Path, out: Path) -> int:
    """The open lock file, held and signed by this process."""
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _hold(handle, file, out)
            if _is_at(handle, file):  # else its last holder has just removed it
                _sign(handle, file)
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _hold(handle: int, file: Path, out: Path) -> None:
    holder = _read(handle)
    words = (
        f"another run is at work in {out}: process {holder.get('process', '?')} on {holder.get('host', '?')}, "
        f"since {holder.get('since', '?')}; wait for it, or choose another --out"
    )
    try:
        _lock(handle)
    except OSError as error:
        if error.errno in BUSY:
            raise UserError(words) from None
        if holder and not _is_gone(holder):  # some network file systems have no locks
            raise UserError(f"{words}; if it is gone, delete {file}") from None


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, SIGNATURE_LIMIT, os.SEEK_SET)  # what is locked there cannot be read
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _sign(handle: int, file: Path) -> None:
    """Write into the file who holds it; on a disk without space the file stays empty."""
    try:
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, json.dumps(_signature()).encode())
    except OSError:
        file.unlink()
        raise


def _signature() -> dict[str, Any]:
    host, process = socket.gethostname(), os.getpid()
    return {"process": process, "host": host, "since": time.strftime("%Y-%m-%d %H:%M:%S"), "began": _began(process)}


def _read(handle: int) -> dict[str, Any]:
    """Who signed a lock file; {} if nobody did."""
    try:
        holder = json.loads(os.read(handle, SIGNATURE_LIMIT))
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _is_gone(holder: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine that has ended; another process may have its number now."""
    if holder.get("host") != socket.gethostname():
        return False
    try:
        os.kill(int(holder["process"]), 0)
    except PermissionError:
        pass
    except (KeyError, ValueError, TypeError, OSError):
        return True
    return holder.get("began") != _began(int(holder["process"]))


def _began(process: int) -> str:
    """When a process began, in ticks since the machine did; "" where the system does not say (it is not Linux)."""
    try:
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return words[19]


def _is_at(handle: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), file.stat())
    except FileNotFoundError:
        return False


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
