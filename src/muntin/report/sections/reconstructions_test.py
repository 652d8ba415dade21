import base64
import io
import re

import pytest
import torch
from PIL import Image

from muntin.errors import UserError
from muntin.report import Page, sections

MEAN, STD = [0.5], [0.25]


def decoded(html):
    uris = re.findall(r"base64,([A-Za-z0-9+/=]+)", html)
    return [Image.open(io.BytesIO(base64.b64decode(uri))) for uri in uris]


def test_only_hidden_pixels_are_taken_from_the_reconstruction():
    original, painted = torch.full((1, 1, 2, 2), 2.0), torch.full((1, 1, 2, 2), -2.0)  # white, black
    mask = torch.zeros(1, 1, 2, 2)
    mask[..., 0, 0] = 1
    page = Page("run")
    sections.reconstructions(page, original, mask, painted, MEAN, STD)
    first, masked, filled = decoded(page.html())
    assert (first.getpixel((0, 0)), first.getpixel((1, 1))) == (255, 255)
    assert (masked.getpixel((0, 0)), masked.getpixel((1, 1))) == (128, 255)
    assert (filled.getpixel((0, 0)), filled.getpixel((1, 1))) == (0, 255)
    assert "25\u202f% of it is hidden" in page.html()


def test_no_more_than_count_pictures_are_shown():
    page = Page("run")
    sections.reconstructions(page, torch.rand(9, 1, 4, 4), torch.ones(9, 1, 4, 4), torch.rand(9, 1, 4, 4), MEAN, STD)
    assert len(decoded(page.html())) == 3 * 8


def test_an_empty_batch_is_refused():
    empty = torch.zeros(0, 1, 4, 4)
    with pytest.raises(UserError, match="empty"):
        sections.reconstructions(Page("run"), empty, empty, empty, MEAN, STD)
