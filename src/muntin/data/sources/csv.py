"""Pictures listed in a CSV file."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from muntin.data.sources.class_names import sorted_classes
from muntin.data.sources.files import Files
from muntin.data.sources.listing import listing
from muntin.errors import UserError

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val"}


class Table(Files):
    """A CSV file with a header line and the columns `path`, `label` and, optionally, `split` (train or val).

    Paths are relative to the CSV file. Classes are the labels in sorted order: by number if all are whole numbers, else
    by letter. `splits` holds "train" or "val" for each row, None without that column.

    labelled: whether to read the label column; if not, it may be missing.

    Raises `UserError` for a missing column, an incomplete row, an unknown split, missing files (all in one message), no
    rows, or one class only.
    """

    splits: list[str] | None

    def __init__(self, path: str | Path, *, labelled: bool = True):
        path = Path(path)
        rows, columns = read_rows(path)
        needed = ["path", "label"] if labelled else ["path"]
        if missing := [name for name in needed if name not in columns]:
            raise UserError(
                f"{path} has no column {listing(missing)}: its first line must name the columns "
                f"{','.join(needed)} (found: {listing(columns) or 'nothing'})"
            )
        if not rows:
            raise UserError(f"{path} is empty; it needs one line a picture, {','.join(needed)}")
        needed += ["split"] if "split" in columns else []
        for number, row in rows:
            if blank := [name for name in needed if not row[name]]:
                raise UserError(f"{path}, line {number}: no {listing(blank)}; every line needs {','.join(needed)}")
            if "split" in columns and row["split"] not in SPLITS:
                raise UserError(f"{path}, line {number}: unknown split {row['split']!r}; use train or val")

        files = [path.parent / row["path"] for _, row in rows]
        if missing := [str(file) for file in files if not os.path.isfile(file)]:
            raise UserError(
                f"{path} lists {len(missing)} of {len(files)} files that do not exist (paths are relative to the CSV "
                f"file): {listing(missing, 5)}"
            )
        classes = sorted_classes({row["label"] for _, row in rows}) if labelled else []
        if len(classes) == 1:
            raise UserError(f"{path} has one class ({classes[0]}); a classifier needs at least two")
        place = {name: label for label, name in enumerate(classes)}
        super().__init__(
            paths=[str(file) for file in files],
            labels=[place[row["label"]] for _, row in rows] if labelled else None,
            classes=tuple(classes),
        )
        self.splits = [SPLITS[row["split"]] for _, row in rows] if "split" in columns else None


def read_rows(path: Path) -> tuple[list[tuple[int, dict[str, str]]], list[str]]:
    """Rows with their line numbers, blank lines left out, and the names of the columns."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # -sig: spreadsheets write a byte-order mark
            reader = csv.DictReader(file, skipinitialspace=True, restval="", restkey="")
            columns = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            rows = [(reader.line_num, {k: v.strip() for k, v in row.items() if k}) for row in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a CSV file in UTF-8 ({error})") from None
    return rows, columns
