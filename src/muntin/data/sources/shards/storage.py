"""Files by their place: in a local folder, or, through fsspec, in an object store."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

from muntin.data.sources.files import is_folder
from muntin.errors import RunError, UserError

MOST_OPEN = 32  # local files that one process keeps open


def is_url(place: str) -> bool:
    """Whether a place is for fsspec, such as `s3://bucket/folder` or `simplecache::s3://bucket/folder`.

    Raises `UserError` for `pipe:`, which webdataset uses to run commands.
    """
    if any(part.startswith("pipe:") for part in place.split("::")):
        raise UserError(f"{place}: commands (pipe:) are never run; give a folder, or a URL such as s3://bucket/folder")
    return bool(re.match(r"(\w+::)*[a-zA-Z][\w+.-]+://", place))


def names_in(folder: str) -> list[str]:
    """Names of the files and folders in a folder, sorted, those of folders with a slash behind; [] where it is none."""
    if not is_url(folder):
        if not Path(folder).is_dir():
            return []
        return sorted(entry.name + "/" * is_folder(entry) for entry in os.scandir(folder))
    with _reaching(folder):
        system, path = _filesystem(folder)
        if not system.isdir(path):
            return []
        found = {_last(entry["name"]) + "/" * (entry["type"] == "directory") for entry in system.ls(path, detail=True)}
        return sorted(found - {_last(path) + "/", ""})


def inside(folder: str, name: str) -> str:
    """The place of a file or folder in a folder."""
    return f"{folder.rstrip('/')}/{name}" if is_url(folder) else os.path.join(folder, name)


@contextlib.contextmanager
def opened(place: str) -> Iterator[BinaryIO]:
    """Open a file to read it in order or at any place. Raises `UserError` if it cannot be reached."""
    with _reaching(place):
        if is_url(place):
            system, path = _filesystem(place)
            with system.open(path, "rb") as file:
                yield file
        else:
            if os.path.exists(place) and not os.path.isfile(place):  # a pipe would wait for ever
                raise UserError(f"{place} is a folder or a device, not a file")
            with Path(place).open("rb") as file:
                yield file


class Ranges:
    """Reads parts of files. Each process keeps its own recently used local files open, so the object can be pickled."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, FileIO] = OrderedDict()
        self._process = os.getpid()
        self._lock = threading.Lock()  # threads share the position of a file

    def read(self, place: str, offset: int, size: int) -> bytes:
        """Read `size` bytes from `offset` on.

        Raises `UserError` if a local file does not have them, `RunError` if the store of a URL does not answer.
        """
        if is_url(place):
            content = _read_remote(place, offset, size)
        else:
            try:
                with self._lock:
                    file = self._file(place)
                    file.seek(offset)
                    content = file.read(size)
            except OSError as error:
                raise UserError(f"{place} cannot be read at byte {offset:,} ({error.strerror or error})") from None
        if len(content) != size:
            raise UserError(f"{place} has become shorter: {size:,} bytes were expected at byte {offset:,}")
        return content

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Ranges.__init__(self)

    def _file(self, place: str) -> FileIO:
        if self._process != os.getpid():  # a forked process: these files share their position with the parent's
            Ranges.__init__(self)
        if place not in self._open:
            if len(self._open) == MOST_OPEN:
                self._open.popitem(last=False)[1].close()
            self._open[place] = Path(place).open("rb", buffering=0)  # noqa: SIM115
        self._open.move_to_end(place)
        return self._open[place]


def _read_remote(place: str, offset: int, size: int) -> bytes:
    """Read exactly this range in one request. Each process makes fsspec's file systems anew."""
    try:
        system, path = _filesystem(place)
        return system.cat_file(path, start=offset, end=offset + size)
    except Exception as error:  # each store has exceptions of its own
        raise RunError(
            f"{place} does not answer ({type(error).__name__}: {error}); resume the run when it does"
        ) from error


def _filesystem(place: str) -> tuple[Any, str]:
    """fsspec's file system of a URL, and the path in it."""
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise UserError(f'{place} is a URL, and those need fsspec: pip install "muntin[shards]"') from None
    return url_to_fs(place)


@contextlib.contextmanager
def _reaching(place: str) -> Iterator[None]:
    """Turn whatever keeps a place from being reached into one sentence."""
    try:
        yield
    except (UserError, RunError):
        raise
    except ImportError as error:  # fsspec names the package that knows the protocol
        raise UserError(f"{place}: {error}") from None
    except Exception as error:  # each store has exceptions of its own: names, keys, networks
        if not (is_url(place) or isinstance(error, OSError)):
            raise
        raise UserError(f"{place} cannot be read ({type(error).__name__}: {error})") from error


def _last(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1]
