import pytest

from muntin.errors import UserError
from muntin.report import Page, sections


def row(epoch, split, **values):
    return {"epoch": epoch, "step": epoch + 1, "split": split, **values}


def test_only_what_was_recorded_is_drawn():
    page = Page("run")
    sections.curves(page, {"run": [row(0, "train", loss=2.0, lr=1e-3), row(1, "train", loss=1.0, lr=5e-4)]})
    html = page.html()
    assert "Training loss" in html
    assert "Learning rate" in html
    assert "Validation" not in html


def test_rows_of_one_epoch_are_averaged():
    page = Page("run")
    sections.curves(page, {"run": [row(0, "train", loss=3.0), row(0, "train", loss=1.0), row(1, "train", loss=0.5)]})
    assert "<title>run, 0: 2</title>" in page.html()


def test_a_run_keeps_its_colour_in_every_chart():
    runs = {"first": [row(0, "train", loss=2.0)], "second": [row(0, "train", loss=2.0), row(0, "val", top1=0.5)]}
    page = Page("run")
    sections.curves(page, runs)
    top1 = page.html().split("Validation top-1</h4>")[1].split("</svg>")[0]
    assert "dot c1" in top1
    assert "dot c0" not in top1


def test_a_loss_over_decades_gets_a_log_scale():
    page = Page("run")
    sections.curves(page, {"run": [row(0, "train", loss=5.0), row(1, "train", loss=0.05)]})
    assert "log scale" in page.html()


def test_runs_without_any_known_quantity_are_refused():
    with pytest.raises(UserError, match="no curve"):
        sections.curves(Page("run"), {"run": [row(0, "train", seconds=3.0)]})
