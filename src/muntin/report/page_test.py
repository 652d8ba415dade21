import pytest

from muntin.report import Page, Tile


@pytest.fixture
def page():
    return Page("A run", "of a model")


def test_sections_are_numbered_and_listed_in_the_contents(page):
    page.section("Curves")
    page.section("Pictures")
    html = page.html()
    assert '<a href="#s2">Pictures</a>' in html
    assert '<section id="s2"><h2><span>2</span>Pictures</h2>' in html


def test_figures_are_numbered_through_all_sections(page):
    page.section("One")
    page.figure("a", "first")
    page.section("Two")
    page.figure("b", "second")
    assert "<b>Figure 2.</b> second" in page.html()


def test_what_comes_before_the_first_section_stays_above_it(page):
    page.text("story")
    page.section("One", "lead")
    html = page.html()
    assert html.index("<p>story</p>") < html.index("<section") < html.index("<p>lead</p>")


def test_a_blank_line_begins_a_paragraph(page):
    page.text("one\n\ntwo")
    assert "<p>one</p><p>two</p>" in page.html()


def test_tiles_show_fractions_in_percent_and_strings_as_they_are(page):
    page.tiles([Tile("top-1", 0.981), Tile("time", "4 min", "on 2 cores")])
    html = page.html()
    assert "<strong>98.1\u202f%</strong>" in html
    assert "<strong>4 min</strong><span>time</span><small>on 2 cores</small>" in html


def test_foreign_text_never_becomes_markup():
    evil = "<script>alert(1)</script>"
    page = Page(evil, evil)
    page.tiles([Tile(evil, evil, evil)])
    page.section(evil, evil)
    page.figure(evil, evil)  # a plain string is text, even where markup is expected
    page.table([evil], [[evil]], evil)
    assert "<script" not in page.html()


def test_write_replaces_the_page_and_leaves_nothing_beside_it(page, tmp_path):
    path = tmp_path / "deep" / "report.html"
    page.write(path)
    page.text("more")
    assert page.write(path) == path
    assert "more" in path.read_text(encoding="utf-8")
    assert [one.name for one in path.parent.iterdir()] == ["report.html"]


def test_the_browser_is_told_to_load_nothing(page):
    assert "default-src &#x27;none&#x27;" in page.html()
