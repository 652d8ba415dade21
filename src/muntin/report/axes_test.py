import math

import pytest

from muntin.report import axes


def test_linear_axis_ends_at_round_numbers_and_holds_all_values():
    axis = axes.linear([0.13, 0.97])
    assert axis.ticks == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert axis.place(0) == pytest.approx(0)
    assert axis.place(1) == pytest.approx(1)


def test_linear_axis_keeps_a_fixed_end():
    assert axes.linear([910.0, 950.0], low=0.0).place(0.0) == 0


def test_one_value_alone_stands_in_the_middle():
    axis = axes.linear([1e-3])
    assert 0.2 < axis.place(1e-3) < 0.8
    assert min(axis.ticks) >= 0


def test_logarithmic_axis_spaces_factors_of_ten_equally():
    axis = axes.logarithmic([0.01, 100.0])
    assert axis.place(10) - axis.place(1) == pytest.approx(axis.place(1) - axis.place(0.1))
    assert {0.01, 1.0, 100.0} <= {round(tick, 6) for tick in axis.ticks}
    assert all(0 <= axis.place(tick) <= 1 for tick in axis.ticks)


def test_logarithmic_axis_has_no_place_for_zero():
    assert math.isnan(axes.logarithmic([0.0, 1.0, 10.0]).place(0.0))


def test_values_that_are_not_finite_do_not_stretch_an_axis():
    assert axes.linear([0.0, 1.0, math.inf, math.nan]).place(1.0) == pytest.approx(1)
