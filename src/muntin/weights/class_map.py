"""A list of classes to keep, such as the official one that leads from ImageNet-22K to ImageNet-1K."""

from __future__ import annotations

from pathlib import Path

from muntin.errors import UserError

LARGEST = 1_000_000  # bytes; the official list has 6 kB


def read_class_map(file: str | Path) -> tuple[int, ...]:
    """Read the rows of a head that the new classes take, in their order: whole numbers from 0, one a line or separated
    by other white space.

    Raises UserError for a file that does not exist or holds anything else. The caller checks whether the head has these
    rows, and whether there are as many as classes.
    """
    file = Path(file)
    try:
        if file.stat().st_size > LARGEST:
            raise UserError(f"{file} has more than {LARGEST:,} bytes; a class map is a text with one number a line")
        lines = file.read_text(encoding="utf-8").split()
    except OSError as error:
        raise UserError(f"the class map {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{file} is no text; a class map has one number a line") from None
    if not lines:
        raise UserError(f"{file} is empty; a class map has one row number of the old head a line")
    for i, line in enumerate(lines, 1):
        if not (line.isascii() and line.isdigit() and len(line) < 10):
            raise UserError(f"{file}: entry {i} is '{line[:40]}'; a class map has whole numbers from 0, one a line")
    return tuple(map(int, lines))
