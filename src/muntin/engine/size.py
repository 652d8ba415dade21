"""Bytes in words."""

from __future__ import annotations


def in_words(count: int) -> str:
    """1.5 GiB, 20.0 MiB."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
