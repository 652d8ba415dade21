"""Pictures that cannot be read: muntin counts and lists them, and refuses too many of them."""

from __future__ import annotations

import os
from pathlib import Path

from muntin.data.sources.listing import one_line
from muntin.errors import UserError

SAID = 10  # so many are printed one by one, then every tenth


class BadFiles:
    """The pictures that cannot be read among `count`, each once, in the order in which they were found.

    share: more than this share of the pictures stops the run.

    With a list (`list_in`), every bad picture is added to that file at once, as a line `name<TAB>reason`, and the lines
    that are already there count. So a resumed run knows what it found before, and the processes of one machine know
    what the others found.
    """

    def __init__(self, count: int, share: float):
        self.count, self.share = count, share
        self.file: Path | None = None
        self._names: dict[str, None] = {}
        self._heard = 0  # bytes of the list: a long one is read once, not for each of its lines

    def __len__(self) -> int:
        return len(self._names)

    def list_in(self, file: Path) -> None:
        """Forget what was counted, count what this file lists, and write new ones to it. The file is created when
        needed.
        """
        self.file, self._names, self._heard = file, {}, 0

    def add(self, name: str, reason: str) -> None:
        """Count one more picture, unless it was counted before. Raises `UserError` if they are now more than the
        share.
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
            raise UserError(
                f"{len(self):,} of {self.count:,} pictures cannot be read, more than the share of {self.share:g} that "
                "bad_share allows: repair or remove them (muntin data check names them all), or raise bad_share; "
                f"the last: {reason}"
            )

    def _listed(self) -> str:
        return f", listed in {self.file}" if self.file else ""

    def _read_list(self) -> None:
        if self.file and self.file.exists():
            with self.file.open("rb") as handle:
                handle.seek(self._heard)
                content = handle.read()
            self._heard += content.rfind(b"\n") + 1
            lines = content.decode(errors="replace").split("\n")
            self._names |= {line.partition("\t")[0]: None for line in lines if "\t" in line}  # without: cut short


def _append(file: Path, line: str) -> None:
    """Add a line that outlives a crash of the machine; first end a line that an earlier crash has cut short."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab+") as handle:
        if handle.tell() and (handle.seek(-1, os.SEEK_END), handle.read(1))[1] != b"\n":
            line = f"\n{line}"
        handle.write(line.encode())
        handle.flush()
        os.fsync(handle.fileno())
