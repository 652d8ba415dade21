import pytest
import torch

from muntin.errors import UserError
from muntin.report import Page, sections


def html(counts, classes):
    page = Page("run")
    sections.confusion(page, counts, classes)
    return page.html()


def test_rows_are_true_classes_and_columns_predictions():
    page = html(torch.tensor([[8, 2], [0, 5]]), ["cat", "dog"])
    assert "true cat, said dog: 2 (20.0\u202f%)" in page
    assert "cat → dog" in page
    assert "dog → cat" not in page


def test_every_class_gets_its_accuracy_and_precision():
    page = html(torch.tensor([[8, 2], [0, 5]]), ["cat", "dog"])
    assert "<b>80.0\u202f%</b>" in page  # 8 of 10 cats
    assert "<td>71.4\u202f%</td>" in page  # 5 of 7 dogs


def test_a_class_never_seen_and_never_said_has_no_shares():
    page = html(torch.tensor([[3, 0], [0, 0]]), ["cat", "dog"])
    assert "<td>dog</td><td>0</td><td>0</td><td>–</td><td>–</td>" in page


def test_more_classes_than_can_be_read_are_reduced_to_those_with_errors():
    counts = torch.eye(150, dtype=torch.int64) * 4
    counts[120, 140] = 3
    page = html(counts, ())
    assert "Only the 100 classes with the most errors are drawn, of 150" in page
    assert "true 120, said 140: 3" in page
    assert "true 119, said 119" not in page
    assert "All 150 classes" in page


def test_labels_are_thinned_when_classes_are_many():
    page = html(torch.eye(90, dtype=torch.int64), [f"species-{k}" for k in range(90)])
    assert page.count("rotate(-45)") < 45


def test_long_and_hostile_names_are_cut_and_escaped():
    page = html(torch.eye(2, dtype=torch.int64), ["<script>alert('x')</script>", "b"])
    assert "<script" not in page
    assert "&lt;script&gt;alert(&#x27;x&#x27;…" in page


def test_names_must_match_the_matrix():
    with pytest.raises(UserError, match="3 names"):
        html(torch.eye(2), ["a", "b", "c"])
