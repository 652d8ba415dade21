import pytest

from muntin.errors import UserError
from muntin.report import Page, sections


def test_every_value_gets_a_bar():
    page = Page("run")
    sections.comparison(page, {"pre-trained": 0.91, "from scratch": 0.84}, title="Few labels")
    html = page.html()
    assert "Few labels" in html
    assert html.count('class="track"') == 2


def test_no_values_are_refused():
    with pytest.raises(UserError, match="no values"):
        sections.comparison(Page("run"), {})
