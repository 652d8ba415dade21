"""The pictures the model is surest about and right, and those it gets most wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PIL import Image
from torch import Tensor

from muntin.errors import UserError
from muntin.report import numbers, pictures
from muntin.report.markup import Html, element
from muntin.report.page import Page


def predictions(
    page: Page,
    probabilities: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    picture: Callable[[int], Image.Image],
    *,
    count: int = 12,
    title: str = "Predictions",
    text: str = "The two ends of the held-out pictures, by the probability the model gives to the true class.",
) -> None:
    """Add `count` best and `count` worst pictures of the N evaluated.

    probabilities (N, K), labels (N,); picture(i) reads picture i and is called only for those that are shown.
    Best: right, with the highest probability, one class after the other. Worst: wrong, with the lowest for the truth.
    """
    if not len(labels):
        raise UserError("no prediction to show: no labelled picture was evaluated")
    probabilities, labels = probabilities.detach().float().cpu(), labels.cpu()
    said = probabilities.argmax(1)
    truth = probabilities.gather(1, labels[:, None]).squeeze(1)
    worst = [i for i in truth.argsort(stable=True).tolist() if said[i] != labels[i]][:count]
    best = _in_turn([i for i in truth.argsort(descending=True, stable=True).tolist() if said[i] == labels[i]], labels)
    names = [str(name) for name in classes] or [str(k) for k in range(probabilities.shape[1])]

    def card(i: int) -> Html:
        label, guess = int(labels[i]), int(said[i])
        sure = numbers.percent(float(probabilities[i, guess]))
        image = pictures.img(picture(i), f"true {names[label]}, predicted {names[guess]}")
        lines = [element("b", None, names[guess]), " ", sure]
        if guess == label:
            return pictures.card(image, element("span", None, *lines))
        true = element("span", None, "true: ", element("b", None, names[label]), " ", numbers.percent(float(truth[i])))
        return pictures.card(image, element("span", None, "said: ", *lines), true, kind="wrong")

    page.section(title, text)
    if worst:
        wrong = int((said != labels).sum())
        page.figure(
            pictures.grid(map(card, worst), smallest=112),
            f"The worst of {wrong:,} wrong answers among {len(labels):,} pictures: the true class got the least "
            "probability. Look here first: some are hard for people too, some are labelled wrongly, and the rest show "
            "what the model has not understood.",
        )
    if best:
        page.figure(
            pictures.grid(map(card, best[:count]), smallest=112),
            "The surest right answers, one class after the other: what the model takes for a textbook example.",
        )


def _in_turn(indices: list[int], labels: Tensor) -> list[int]:
    """The same indices, first the first of every class, then the second of every class, and so on."""
    seen: dict[int, int] = {}
    turns = []
    for place, i in enumerate(indices):
        label = int(labels[i])
        seen[label] = seen.get(label, 0) + 1
        turns.append((seen[label], place, i))
    return [i for _, _, i in sorted(turns)]
