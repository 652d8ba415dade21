"""One whole page, every section, hostile names: well-formed, self-contained, small."""

import re
from html.parser import HTMLParser

import pytest
import torch

from muntin.draw.pixels import from_tensor
from muntin.models.swin_v2 import SwinV2, SwinV2Config
from muntin.report import Page, Tile, sections
from muntin.report import inside_the_model as lens
from muntin.report.markup import VOID

EVIL = "</style><script>alert(1)</script>"


class Nesting(HTMLParser):
    """Fails on an end tag that does not close the element opened last; collects names and targets."""

    def __init__(self):
        super().__init__()
        self.open, self.names, self.targets = [], set(), []

    def handle_starttag(self, tag, attributes):
        self.names.add(tag)
        self.targets += [value for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    torch.manual_seed(0)
    config = SwinV2Config(in_chans=1, dim=8, depths=(2, 2), heads=(2, 4), window=(4, 4))
    model, images = SwinV2(config), torch.randn(6, 1, 32, 32)
    shown = [from_tensor(image, [0.5], [0.25]) for image in images]
    rows = [{"epoch": 0, "split": "train", "loss": 1.0, "lr": 1e-3}, {"epoch": 0, "split": "val", "top1": 0.5}]
    classes = [EVIL, "b", "c"]
    folder = tmp_path_factory.mktemp("run")
    (folder / "a&b.txt").write_text("x")
    page = Page(EVIL, EVIL)
    page.tiles([Tile("top-1", 0.5)])
    sections.curves(page, {EVIL: rows, "b": rows})
    sections.confusion(page, torch.ones(3, 3), classes)
    sections.predictions(page, torch.rand(6, 3).softmax(1), torch.arange(6) % 3, classes, shown.__getitem__)
    sections.reconstructions(page, images, torch.ones(6, 1, 32, 32), images, [0.5], [0.25])
    sections.position_bias(page, lens.position_bias(model))
    sections.attention(page, shown[0], lens.attention(model, images[0]))
    sections.amplitude(page, {EVIL: lens.amplitudes(model, images)})
    sections.transfer(page, [{"bias": EVIL, "window": 4, "image": 32, "without": 0.5, "with": 0.6}])
    sections.comparison(page, {EVIL: 0.5}, title=EVIL, text=EVIL)
    sections.recipe(page, {EVIL: {"place": EVIL}})
    sections.environment(page, {"host": EVIL})
    sections.files(page, folder)
    return page.write(folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def parsed(html):
    parser = Nesting()
    parser.feed(html)
    return parser


def test_every_element_is_closed_in_order(parsed):
    assert parsed.open == []


def test_no_name_becomes_a_script_or_ends_the_style(html, parsed):
    assert "script" not in parsed.names
    assert html.count("</style>") == 1


def test_nothing_is_loaded_from_outside(html, parsed):
    assert all(target.startswith(("data:image/", "#", "./")) for target in parsed.targets)
    assert not re.search(r"https?://|@import|url\(", html)


def test_every_entry_of_the_contents_leads_somewhere(html, parsed):
    anchors = {target[1:] for target in parsed.targets if target.startswith("#")}
    assert len(anchors) == 12
    assert all(f'id="{anchor}"' in html for anchor in anchors)


def test_the_page_stays_small(html):
    assert len(html.encode()) < 300_000
