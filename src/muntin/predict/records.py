"""Predictions as files: JSON lines for programs, CSV for spreadsheets."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from typing import TextIO

from .predictor import Prediction


def write_jsonl(predictions: Iterable[Prediction], file: TextIO) -> None:
    """One object a line: {"file", "label", "score", "top": [{"label", "score"}, ...]}."""
    for prediction in predictions:
        file.write(json.dumps(prediction.record(), ensure_ascii=False) + "\n")


def write_csv(predictions: Iterable[Prediction], file: TextIO) -> None:
    """Columns file, label, score, then label_2, score_2 and so on. Open the file with newline=""."""
    predictions = list(predictions)
    places = max((len(p.top) for p in predictions), default=1)
    more = [name for place in range(2, places + 1) for name in (f"label_{place}", f"score_{place}")]
    table = csv.writer(file)
    table.writerow(["file", "label", "score", *more])
    for p in predictions:
        table.writerow([p.file, *[value for label, score in p.top for value in (label, f"{score:.6f}")]])
