"""Answers as records, for people and for programs: one file a kind of answer.

Each file has `read` (an answer to a batch -> one record a sample), `COLUMNS` and `cells` (the table on the screen),
`csv_rows`, and for measures `measured_record`, `measured_table` and `measured_words`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TextIO

from . import classes, reconstruction

_KINDS: dict[str, Any] = {"classes": classes, "reconstruction": reconstruction}


class Record(Protocol):
    """The answer about one sample."""

    file: str

    def record(self) -> dict[str, Any]:
        """As a plain dictionary, ready for JSON."""


def of(kind: str) -> Any:
    """The module of a kind of answer."""
    return _KINDS[kind]


def write_jsonl(records: Iterable[Record], file: TextIO) -> None:
    """One object a line, with the file first."""
    for record in records:
        file.write(json.dumps(record.record(), ensure_ascii=False) + "\n")


def write_csv(kind: str, records: Sequence[Record], file: TextIO) -> None:
    """A header and one line a sample. Open the file with newline=""."""
    csv.writer(file).writerows(of(kind).csv_rows(records))
