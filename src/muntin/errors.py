"""The two errors that end in one sentence instead of a traceback.

Every room may raise them; only the command line turns them into an exit code.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

LONGEST = 2000  # characters of a message; what it repeats from a damaged file may be as long as the file


def printable(text: str) -> str:
    """The text in one line without control characters: names from files may hold commands to a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def sides(size: Sequence[int]) -> str:
    """A size in words: "32" where every axis has the same, else "2 x 32 x 32"."""
    return str(size[0]) if len(set(size)) == 1 else " x ".join(map(str, size))


class UserError(ValueError):
    """What was given cannot work. The message says what was given, what is needed, what to do. Exit code 2."""

    def __str__(self) -> str:
        text = printable(super().__str__())
        return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


class RunError(RuntimeError):
    """A run that had started had to stop: a non-finite loss, a lost process. Exit code 1."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known names most like `name`, best first; may be empty."""
    lowered = {k.lower(): k for k in known}
    return [lowered[k] for k in difflib.get_close_matches(name.lower(), lowered, n=count, cutoff=0.5)]


def unknown(what: str, name: str, known: Iterable[str], see: str = "", spelt: str = "") -> UserError:
    """The error for a name that is not in a list, with the nearest; `spelt` is the name in the list's spelling."""
    known = list(known)
    near = nearest(spelt or name, known)
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else f"known: {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}"
    )
    return UserError(f"unknown {what} '{name}': {hint}{f' ({see})' if see else ''}")


def refuse(group: str, wrong: Sequence[str]) -> None:
    """Raise UserError with everything that is wrong with a group's values; do nothing if nothing is wrong."""
    if wrong:
        raise UserError(f"{group}: {'; '.join(wrong)}")
