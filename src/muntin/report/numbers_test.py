import pytest

from muntin.report import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.5, "0.5"), (0.000123, "1.23e-4"), (0.001, "1e-3"), (12345.6, "12,346"), (-2.345, "-2.35")],
)
def test_short_keeps_three_digits(value, text):
    assert numbers.short(value) == text


def test_short_survives_numbers_that_are_not_finite():
    assert numbers.short(float("nan")) == "nan"


def test_percent_has_one_decimal_and_ticks_only_what_they_need():
    assert numbers.percent(0.98) == "98.0\u202f%"
    assert (numbers.whole_percent(0.8), numbers.whole_percent(0.975)) == ("80\u202f%", "97.5\u202f%")


def test_file_size_uses_the_unit_that_reads_best():
    assert [numbers.file_size(n) for n in (12, 1500, 3_600_000)] == ["12 bytes", "1.5 kB", "3.6 MB"]
