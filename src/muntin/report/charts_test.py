import math
import re

from muntin.report.charts import Series, bars, line_chart


def chart(points, **options):
    return line_chart([Series("run", points)], title="Loss", x_label="epoch", **options)


def test_every_finite_point_gets_a_dot_with_its_value():
    svg = chart([(0, 2.0), (1, 1.0), (2, 0.5)])
    assert svg.count("<circle") == 3
    assert "<title>run, 2: 0.5</title>" in svg


def test_a_value_that_is_not_finite_breaks_the_line():
    svg = chart([(0, 4.0), (1, 3.0), (2, math.nan), (3, 2.0), (4, 1.0)])
    assert len(re.findall(r'<path class="line', svg)) == 2
    assert "nan" not in svg


def test_higher_values_are_drawn_higher():
    first, second = re.findall(r'cy="([\d.]+)"', chart([(0, 1.0), (1, 2.0)]))
    assert float(second) < float(first)


def test_log_scale_leaves_out_what_is_not_positive():
    svg = chart([(0, 0.0), (1, 1.0), (2, 100.0)], log=True)
    assert svg.count("<circle") == 2
    assert "log scale" in svg


def test_several_lines_get_a_legend_with_their_last_values_and_escaped_names():
    series = [Series("<script>", [(0, 0.5), (1, 0.25)]), Series("b", [(0, 0.5), (1, 0.75)], colour=1, dashed=True)]
    svg = line_chart(series, title="Top-1", x_label="epoch", percent=True)
    assert "&lt;script&gt; <b>25.0\u202f%</b>" in svg
    assert "<script" not in svg
    assert "line c1 dashed" in svg


def test_named_positions_are_thinned_when_they_do_not_fit():
    names = [f"stage 3, block {k}" for k in range(60)]
    svg = chart([(k, 1.0 + k) for k in range(60)], x_names=names)
    assert svg.count("tick mid") < 10


def test_bars_are_as_long_as_their_values_and_the_largest_is_marked():
    html = bars({"pre-trained": 0.9, "<b>": 0.45})
    assert re.findall(r"width:([\d.]+)%", html) == ["90.0", "45.0"]
    assert html.count("fill best") == 1
    assert "&lt;b&gt;" in html
