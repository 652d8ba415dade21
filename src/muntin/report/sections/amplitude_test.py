import pytest

from muntin.errors import UserError
from muntin.report import Page, sections


def test_models_stand_beside_each_other_on_a_log_scale():
    page = Page("run")
    sections.amplitude(page, {"V1": [("1.1", 1.0), ("1.2", 900.0)], "V2": [("1.1", 1.0), ("1.2", 1.5)]})
    html = page.html()
    assert "<title>V1, 1.2: 900</title>" in html
    assert "<title>V2, 1.2: 1.5</title>" in html
    assert "log scale" in html


def test_the_deeper_model_names_the_axis():
    page = Page("run")
    sections.amplitude(page, {"small": [("1.1", 1.0)], "large": [("1.1", 1.0), ("2.1", 2.0)]})
    assert ">2.1</text>" in page.html()


def test_no_blocks_are_refused():
    with pytest.raises(UserError, match="no amplitude"):
        sections.amplitude(Page("run"), {"V1": []})
