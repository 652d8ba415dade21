import base64
import io
import re

import pytest
import torch
from PIL import Image

from muntin.errors import UserError
from muntin.report import Page, sections
from muntin.report.inside_the_model import AttentionMap


@pytest.fixture
def shifted():
    heads = torch.zeros(2, 8, 8)
    heads[:, 2:6, 2:6] = 1 / 16
    heads[0, 2, 3] = 1.0
    return AttentionMap("stage 1, block 2", (4, 5), (4, 4), (2, 2), (4, 4), heads)


@pytest.fixture
def html(shifted):
    page = Page("run")
    sections.attention(page, Image.new("RGB", (30, 30)), [shifted])
    return page.html()


def test_query_and_window_are_outlined_where_they_lie(html):
    assert '<rect class="query" x="5" y="4" width="1" height="1">' in html
    assert '<rect class="window" x="2" y="2" width="4" height="4">' in html


def test_lattice_follows_the_shift(html):
    assert 'd="M0 2H8M0 6H8M2 0V8M6 0V8"' in html
    assert "windows shifted by 2 × 2, 4 × 4 tokens each" in html


def test_padding_is_not_covered_by_the_picture(html):
    assert '<image x="0" y="0" width="7.5" height="7.5"' in html  # 30 pixels of 8 cells of 4 pixels


def test_overlay_glows_with_attention_and_shades_what_is_not_seen(html):
    overlay = next(
        picture
        for uri in re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", html)
        if (picture := Image.open(io.BytesIO(base64.b64decode(uri)))).mode == "RGBA"
    )
    assert overlay.size == (8, 8)
    most, little, outside = (overlay.getpixel(place) for place in ((3, 2), (2, 2), (0, 0)))
    assert most[:3] == little[:3] == (255, 122, 61)
    assert most[3] > little[3] > 0
    assert outside[:3] == (0, 0, 0)
    assert outside[3] > 0


def test_on_a_fine_grid_heads_are_shown_close_up():
    heads = torch.zeros(1, 32, 24)
    heads[0, 8:12, 20:24] = 1 / 16
    page = Page("run")
    sections.attention(page, Image.new("L", (96, 128)), [AttentionMap("block", (9, 23), (4, 4), (0, 0), (4, 4), heads)])
    assert re.findall(r'viewBox="([\d ]+)" role="img" aria-label="block', page.html()) == ["0 0 24 32", "15 5 9 9"]


def test_heads_and_their_mean_get_a_panel_each(html):
    assert [label in html for label in ("windows</div>", "head 2</div>", "mean of 2 heads</div>")] == [True] * 3


def test_no_maps_are_refused():
    with pytest.raises(UserError, match="no attention"):
        sections.attention(Page("run"), Image.new("L", (4, 4)), [])
