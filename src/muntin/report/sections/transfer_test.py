import pytest

from muntin.errors import UserError
from muntin.report import Page, sections

ROWS = [
    {"bias": "log-CPB", "window": 4, "image": 32, "without": 0.97, "with": None},
    {"bias": "log-CPB", "window": (8, 8), "image": (64, 48), "without": 0.95, "with": 0.98},
    {"bias": "bicubic", "window": 4, "image": 32, "without": 0.96, "with": None},
    {"bias": "bicubic", "window": (8, 8), "image": (64, 48), "without": 0.60, "with": 0.97},
]


@pytest.fixture
def html():
    page = Page("run")
    sections.transfer(page, ROWS)
    return page.html()


def test_table_has_a_row_a_target_and_a_dash_for_what_was_not_measured(html):
    assert "<td>bicubic</td><td>8</td><td>64 × 48 px</td><td>60.0\u202f%</td><td>97.0\u202f%</td>" in html
    assert "<td>log-CPB</td><td>4</td><td>32 px</td><td>97.0\u202f%</td><td>–</td>" in html


def test_a_bias_has_one_colour_dotted_without_fine_tuning(html):
    assert "line c0 dashed" in html
    assert "line c1 dashed" in html
    assert "<title>bicubic, as it is, window 8, 64 × 48 px: 60.0\u202f%</title>" in html


def test_no_rows_are_refused():
    with pytest.raises(UserError, match="no rows"):
        sections.transfer(Page("run"), [])
