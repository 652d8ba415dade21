from muntin.report.markup import Html, element, join


def test_text_is_escaped_and_markup_is_not():
    inner = element("b", None, "a < b")
    assert element("p", None, "<script>", inner) == "<p>&lt;script&gt;<b>a &lt; b</b></p>"


def test_attribute_values_cannot_leave_their_quotes():
    assert element("a", {"title": '"><script>'}) == '<a title="&quot;&gt;&lt;script&gt;"></a>'


def test_attributes_that_are_none_are_left_out_and_floats_are_short():
    assert element("rect", {"x": 1.23456, "y": 2.0, "class": None}) == '<rect x="1.23" y="2"></rect>'


def test_void_elements_have_no_end():
    assert element("img", {"alt": "x"}) == '<img alt="x">'


def test_join_makes_every_part_safe():
    assert join(["<", Html("<br>")], ", ") == "&lt;, <br>"
