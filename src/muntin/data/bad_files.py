"""Pictures that cannot be read: counted, listed, and too many of them refused."""

from __future__ import annotations

import os
from pathlib import Path

from muntin.errors import RunError, UserError

SAID = 10  # so many are said one by one, then every so many


class BadFiles:
    """The bad ones among `count` pictures, each once, in the order in which they were met.

    share: more than this share of the pictures stops the run.
    With a list (`list_in`) every picture is added to the file as it is met, a line `name<TAB>reason`, and those already
    there count: a run that goes on knows what it knew before, and the processes of one machine what the others met.
    """

    def __init__(self, count: int, share: float):
        self.count, self.share = count, share
        self.file: Path | None = None
        self._names: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._names)

    def names(self) -> set[str]:
        """Their names, as they are listed."""
        self._read_list()
        return set(self._names)

    def list_in(self, file: Path) -> None:
        """Count anew, from what this file lists by then, and list in it from now on. It is made when there is need."""
        self.file, self._names = file, {}

    def add(self, name: str, reason: str) -> None:
        """One more, unless it is known.

        When they are more than the share, raises `RunError` where they are listed, which leaves the list to be looked
        at, else `UserError`.
        """
        name, reason = one_line(name), one_line(reason)
        if name not in self._names:
            self._read_list()
        if name not in self._names:
            self._names[name] = None
            if self.file:
                _append(self.file, f"{name}\t{reason.removeprefix(name).lstrip(': ')}\n")
            if len(self) <= SAID or len(self) % SAID == 0:
                print(f"{reason}. Skipped; {len(self):,} of {self.count:,} so far{self._listed()}")
        if len(self) > self.share * self.count:
            raise (RunError if self.file else UserError)(
                f"{len(self):,} of {self.count:,} pictures cannot be read{self._listed()}, more than the share of "
                f"{self.share:g} that bad_share allows: repair or remove them, or raise bad_share; the last: {reason}"
            )

    def _listed(self) -> str:
        return f", listed in {self.file}" if self.file else ""

    def _read_list(self) -> None:
        if self.file and self.file.exists():
            lines = self.file.read_text(encoding="utf-8", errors="replace").split("\n")
            self._names |= {line.partition("\t")[0]: None for line in lines if "\t" in line}  # without: cut short


def _append(file: Path, line: str) -> None:
    """Add a line that outlives a crash of the machine; a line that one had cut short is closed before."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab+") as handle:
        if handle.tell() and (handle.seek(-1, os.SEEK_END), handle.read(1))[1] != b"\n":
            line = f"\n{line}"
        handle.write(line.encode())
        handle.flush()
        os.fsync(handle.fileno())


def one_line(text: str) -> str:
    """What cannot be printed, tabs and line breaks among it, in Python's escapes."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
