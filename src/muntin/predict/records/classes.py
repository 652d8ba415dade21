"""Classes as records: a label, its score, and the next likely ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from muntin.answers import Classes
from muntin.evals import Measured, TopKResult

COLUMNS = (("label", "left"), ("score %", "right"), ("then", "left"))


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says about one picture. Scores are softmax probabilities, in [0, 1]."""

    file: str
    label: str
    score: float
    top: tuple[tuple[str, float], ...]  # (label, score), best first; the first is `label`, `score`

    def record(self) -> dict[str, Any]:
        """The prediction as a plain dictionary, ready for JSON."""
        top = [{"label": label, "score": score} for label, score in self.top]
        return {"file": self.file, "label": self.label, "score": self.score, "top": top}


def read(answer: Classes, names: Sequence[str], classes: Sequence[str], top: int) -> list[Prediction]:
    """One prediction a sample, of at most `top` labels."""
    scores, order = answer.logits.softmax(dim=1).cpu().topk(min(top, len(classes)), dim=1)  # (B, top) each
    found = []
    for name, row, indices in zip(names, scores.tolist(), order.tolist()):
        best = tuple((classes[i], score) for i, score in zip(indices, row))
        found.append(Prediction(file=name, label=best[0][0], score=best[0][1], top=best))
    return found


def cells(prediction: Prediction) -> list[str]:
    """Under `COLUMNS`."""
    then = ", ".join(f"{label} {100 * score:.1f}" for label, score in prediction.top[1:])
    return [prediction.label, f"{100 * prediction.score:.1f}", then]


def csv_rows(predictions: Sequence[Prediction]) -> list[list[str]]:
    """Columns file, label, score, then label_2, score_2 and so on."""
    places = max((len(p.top) for p in predictions), default=1)
    more = [name for place in range(2, places + 1) for name in (f"label_{place}", f"score_{place}")]
    rows = [[p.file, *[cell for label, score in p.top for cell in (label, f"{score:.6f}")]] for p in predictions]
    return [["file", "label", "score", *more], *rows]


def measured_record(measured: Measured, classes: Sequence[str]) -> dict[str, Any]:
    """For JSON: shares as fractions, top5 with more than five classes; null: a class without samples.

    No confusion matrix with very many classes.
    """
    result: TopKResult = measured.details
    return {
        "samples": result.samples,
        "top1": result.top1,
        **({} if result.top5 is None else {"top5": result.top5}),
        "per_class": {name: None if math.isnan(r) else r for name, r in zip(classes, result.per_class)},
        **({} if result.confusion is None else {"confusion": result.confusion.tolist()}),
    }


def measured_table(measured: Measured, classes: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Titles, of which the first and the last column are words, and one row a class."""
    result: TopKResult = measured.details
    rows = []
    for k, (name, recall) in enumerate(zip(classes, result.per_class)):
        share, right = ("", 0) if math.isnan(recall) else (f"{recall:.2%}"[:-1], round(recall * result.seen[k]))
        rows.append([name, f"{result.seen[k]:,}", f"{right:,}", share, _mistake(result, k, classes)])
    return ["class", "pictures", "right", "recall %", "most often taken for"], rows


def measured_words(measured: Measured) -> str:
    """The result in a few words."""
    result: TopKResult = measured.details
    return f"top-1 {result.top1:.2%}" + ("" if result.top5 is None else f"  top-5 {result.top5:.2%}")


def _mistake(result: TopKResult, k: int, classes: Sequence[str]) -> str:
    """What samples of class k were most often confused with; empty if that is not known, or nothing."""
    if result.confusion is None:
        return ""
    row = result.confusion[k].tolist()
    row[k] = 0
    return f"{classes[row.index(max(row))]} ({max(row)})" if any(row) else ""
