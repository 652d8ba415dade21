import pytest
import torch
from PIL import Image

from muntin.errors import UserError
from muntin.report import Page, sections

PROBABILITIES = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8], [0.05, 0.95]])
LABELS = torch.tensor([0, 0, 0, 1, 0])  # pictures 2 and 4 are wrong, 4 more so


def show(count, classes=("cat", "dog")):
    read = []

    def picture(index):
        read.append(index)
        return Image.new("L", (8, 8))

    page = Page("run")
    sections.predictions(page, PROBABILITIES, LABELS, classes, picture, count=count)
    return page.html(), read


def test_worst_come_first_and_only_shown_pictures_are_read():
    html, read = show(count=1)
    assert read == [4, 0]
    assert "The worst of 2 wrong answers among 5 pictures" in html
    assert "true: <b>cat</b> 5.0\u202f%" in html


def test_best_take_turns_between_classes():
    _, read = show(count=3)
    assert read == [4, 2, 0, 3, 1]


def test_class_names_are_escaped():
    assert "<script" not in show(count=2, classes=("<script>", "dog"))[0]


def test_nothing_evaluated_is_refused():
    with pytest.raises(UserError, match="no labelled picture"):
        sections.predictions(Page("run"), torch.zeros(0, 2), torch.zeros(0), (), lambda i: Image.new("L", (1, 1)))
