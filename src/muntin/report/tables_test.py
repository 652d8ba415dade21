from muntin.report import tables
from muntin.report.markup import element


def test_cells_are_escaped_unless_they_are_markup():
    html = tables.table(["name"], [["<script>"], [element("b", None, "x")]])
    assert "<td>&lt;script&gt;</td>" in html
    assert "<td><b>x</b></td>" in html


def test_share_bar_never_leaves_its_track():
    assert "width:100%" in tables.share_bar(1.7, "170")


def test_details_are_closed_unless_asked():
    assert "open" not in tables.details("more", "text")
    assert '<details open="open">' in tables.details("more", "text", is_open=True)
