"""Which classes are confused: heat map, the most frequent confusions, accuracy of every class."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from muntin.errors import UserError
from muntin.report import numbers, tables
from muntin.report.markup import Html, element
from muntin.report.page import Page

MOST = 100  # classes drawn; of more, those with the most errors
NUMBERED = 20  # up to so many classes every square also shows its count
NAME = 18  # characters of a class name in the heat map


def confusion(
    page: Page,
    confusion: Tensor,
    classes: Sequence[str],
    *,
    title: str = "Confusion",
    text: str = "Which classes the model tells apart, and which it takes for each other.",
) -> None:
    """Add the confusion matrix (K, K): counts, rows = true class, columns = predicted; classes `()`: by number."""
    counts = torch.as_tensor(confusion).to(torch.int64)
    K = len(counts)
    names = [str(name) for name in classes] or [str(k) for k in range(K)]
    if counts.shape != (len(names), len(names)):
        raise UserError(f"the confusion matrix is {tuple(counts.shape)}, the class list has {len(names)} names")
    page.section(title, text)
    errors = counts.sum(1) + counts.sum(0) - 2 * counts.diagonal()
    kept = errors.argsort(descending=True, stable=True)[:MOST].sort().values
    part = f" Only the {MOST} classes with the most errors are drawn, of {K}." if K > MOST else ""
    page.figure(
        element(
            "div", {"class": "matrix"}, _matrix(counts[kept][:, kept], counts.sum(1)[kept], [names[k] for k in kept])
        ),
        "Each row is a true class, each column what the model said. The calm diagonal is what it got right, as a share "
        "of the row; everything beside it is an error, coloured against the most frequent error so that rare ones "
        f"still show.{part}",
    )
    _frequent(page, counts, names)
    _classes(page, counts, names)


def _matrix(counts: Tensor, seen: Tensor, names: list[str]) -> Html:
    K = len(names)
    shares = counts / seen.clamp(min=1)[:, None]
    worst = max(float((shares - shares.diagonal().diag()).max()), 1e-9)
    size = min(max(520 / K, 5.4), 60)
    labels = [_cut(name) for name in names]
    margin = 8 + 6.3 * max(len(label) for label in labels)
    flat = max(len(label) for label in labels) * 6.3 < size - 4  # labels above the columns fit without turning
    top = (18 if flat else margin * 0.72 + 8) + 18
    left = margin + 20
    side = K * size
    parts = [element("rect", {"class": "frame", "x": left, "y": top, "width": side, "height": side})]
    for row, column in counts.nonzero().tolist():
        right, share = row == column, float(shares[row, column])
        opacity = share * 0.85 if right else 0.15 + 0.85 * (share / worst) ** 0.7
        x, y = left + column * size, top + row * size
        square = {
            "class": "right" if right else "wrong",
            "fill-opacity": opacity,
            "x": x + 0.5,
            "y": y + 0.5,
            "width": size - 1,
            "height": size - 1,
            "rx": 3 if size > 16 else None,
        }
        count = int(counts[row, column])
        tip = f"true {names[row]}, said {names[column]}: {count} ({numbers.percent(share)})"
        parts.append(element("rect", square, element("title", None, tip)))
        if K <= NUMBERED:
            place = {"class": "cell mid on" if opacity > 0.6 else "cell mid", "x": x + size / 2, "y": y + size / 2 + 4}
            parts.append(element("text", place, count))
    for k in range(0, K, math.ceil(15 / size)):  # a turned line of text takes 15 units
        middle = (k + 0.5) * size
        tip = element("title", None, names[k])
        parts.append(element("text", {"class": "end", "x": left - 7, "y": top + middle + 4}, labels[k], tip))
        if flat:
            parts.append(element("text", {"class": "mid", "x": left + middle, "y": top - 8}, labels[k], tip))
        else:
            turn = f"translate({left + middle + 3:.1f} {top - 7:.1f}) rotate(-45)"
            parts.append(element("text", {"transform": turn}, labels[k], tip))
    parts.append(element("text", {"class": "mid axis-name", "x": left + side / 2, "y": 11}, "predicted"))
    upright = f"translate(11 {top + side / 2:.1f}) rotate(-90)"
    parts.append(element("text", {"class": "mid axis-name", "transform": upright}, "true"))
    width = left + side + (4 if flat else margin * 0.72)
    box = f"0 0 {width:.0f} {top + side + 4:.0f}"
    return element("svg", {"viewBox": box, "style": f"max-width:{width:.0f}px", "role": "img"}, *parts)


def _frequent(page: Page, counts: Tensor, names: list[str], most: int = 8) -> None:
    """A table of the largest entries beside the diagonal."""
    wrong = counts - counts.diagonal().diag()
    order = wrong.flatten().argsort(descending=True, stable=True)[:most].tolist()
    rows = []
    for place in order:
        true, said = divmod(place, len(names))
        count = int(wrong[true, said])
        if count:
            rows.append([f"{names[true]} → {names[said]}", count, numbers.percent(count / int(counts[true].sum()))])
    if rows:
        page.table(["true → said", "times", "of that class"], rows, "The most frequent confusions.")


def _classes(page: Page, counts: Tensor, names: list[str], shown: int = 12) -> None:
    """Recall and precision of every class; folded away when they are many."""
    seen, said, hits = counts.sum(1).tolist(), counts.sum(0).tolist(), counts.diagonal().tolist()
    rows = [
        [names[k], seen[k], hits[k], _share(hits[k], seen[k]), numbers.percent(hits[k] / said[k]) if said[k] else "–"]
        for k in range(len(names))
    ]
    table = tables.table(["class", "pictures", "right", "accuracy", "precision"], rows)
    note = element(
        "figcaption",
        None,
        "Accuracy: of the pictures of this class, the share that was named so (recall). "
        "Precision: of the pictures named so, the share that is of this class.",
    )
    body = element("figure", {"class": "plain"}, table, note)
    page.add(body if len(rows) <= shown else tables.details(f"All {len(rows)} classes, one by one", body))


def _share(part: int, whole: int) -> Html | str:
    return tables.share_bar(part / whole, numbers.percent(part / whole)) if whole else "–"


def _cut(name: str) -> str:
    return name if len(name) <= NAME else name[: NAME - 1] + "…"
