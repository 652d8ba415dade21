import pytest
import torch

from muntin.errors import UserError
from muntin.report import Page, sections
from muntin.report.inside_the_model import BiasMap


def html(heads):
    page = Page("run")
    sections.position_bias(page, [BiasMap("stage 1, block 1", heads)])
    return page.html()


def test_a_constant_bias_is_blank_because_the_softmax_cannot_see_it():
    assert 'class="more"' not in html(torch.full((1, 3, 3), 7.0))


def test_heads_of_a_block_share_one_scale():
    heads = torch.zeros(2, 1, 3)
    heads[0, 0] = torch.tensor([-1.0, 0.0, 1.0])
    heads[1, 0] = torch.tensor([-2.0, 0.0, 2.0])
    page = html(heads)
    assert "+2</span>" in page
    assert page.count('class="more" fill-opacity="0.5"') == 1
    assert page.count('class="more" fill-opacity="1"') == 1


def test_of_very_many_heads_the_first_are_drawn():
    page = html(torch.randn(40, 3, 3))
    assert page.count('class="heat"') == 16
    assert "40 heads, the first 16 of 40" in page


def test_no_maps_are_refused():
    with pytest.raises(UserError, match="no position bias"):
        sections.position_bias(Page("run"), [])
