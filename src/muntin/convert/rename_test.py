import torch

from muntin.convert.rename import backwards, matches, rename

TABLE = {"a.{s}.special.*": "first.{s}.*", "a.{s}.{b}.*": "second.{b}.{s}.*", "lone": "alone"}


def test_the_most_particular_pattern_wins_and_numbers_move():
    one = torch.ones(1)
    renamed, left = rename({"a.3.special.x.y": one, "a.3.14.w": one, "lone": one}, TABLE)
    assert list(renamed) == ["first.3.x.y", "second.14.3.w", "alone"]
    assert not left


def test_keys_that_no_pattern_fits_are_told():
    one = torch.ones(1)
    assert rename({"a.x.special.y": one, "lonely": one}, TABLE) == ({}, ["a.x.special.y", "lonely"])


def test_a_table_reads_both_ways():
    state = {"a.3.special.x.y": torch.ones(1), "a.3.14.w": torch.ones(2), "lone": torch.ones(3)}
    renamed, _ = rename(state, TABLE)
    again, left = rename(renamed, backwards(TABLE))
    assert again == state
    assert not left


def test_a_dot_in_a_pattern_is_a_dot():
    assert matches("x.mask", ["*.mask"])
    assert not matches("x_mask", ["*.mask"])
