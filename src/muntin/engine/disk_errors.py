"""What a run says when the disk fails: what could not be written, where, why, and how much space is left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from muntin.engine.out_of_memory import in_words
from muntin.errors import RunError


@contextmanager
def writing(what: str, place: Path, *, needs: int = 0) -> Iterator[None]:
    """Turn a failure to write `what` (about `needs` bytes) to the folder `place` into a RunError."""
    try:
        yield
    except (OSError, SafetensorError) as error:  # safetensors writes by itself, and wraps what the system said
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise RunError(
            f"{what} could not be written to {place}: {reason}{_room(place, needs)}; make room or check the disk, "
            "then continue with --resume (before the first checkpoint: start again)"
        ) from error


def _room(place: Path, needs: int) -> str:
    """How much space is free at `place`, and how much was needed, in words."""
    there = next((folder for folder in (place, *place.parents) if folder.is_dir()), None)
    if there is None:
        return ""
    try:
        free = shutil.disk_usage(there).free
    except OSError:
        return ""
    return f" ({in_words(free)} free there{f', {in_words(needs)} needed' if needs else ''})"
