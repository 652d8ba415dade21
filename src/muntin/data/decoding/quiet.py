"""Keeps Pillow's warnings from the user: muntin raises errors for what matters, and the rest would return every
epoch.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0
_filters = warnings.catch_warnings()


@contextmanager
def without_pillow_warnings() -> Iterator[None]:
    """Ignore Pillow's warnings. The user's own filters return when the last thread has left."""
    global _inside, _filters
    with _lock:  # `catch_warnings` alone would, with two threads that overlap, leave its filters behind for ever
        _inside += 1
        if _inside == 1:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\b")
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _filters.__exit__(None, None, None)
