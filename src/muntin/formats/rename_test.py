import pytest
import torch

from muntin.errors import UserError
from muntin.formats.rename import backwards, nested, rename, rename_keys

TABLE = {"a.{s}.special.*": "first.{s}.*", "a.{s}.{b}.*": "second.{b}.{s}.*", "lone": "alone"}
COUNTED = {"f.{2s+1}.{b}.*": "stages.{s}.{b}.*", "f.{2s+2}.*": "merges.{s}.*", "stage{s+1}": "norms.{s}"}


def test_the_most_particular_pattern_wins_and_numbers_move():
    one = torch.ones(1)
    renamed, left = rename({"a.3.special.weight": one, "a.3.14.bias": one, "lone": one}, TABLE)
    assert list(renamed) == ["first.3.weight", "second.14.3.bias", "alone"]
    assert not left


def test_keys_that_no_pattern_fits_are_told():
    strange = ["a.x.special.weight", "lonely", "a.3.14.running_mean", "a.3.14.deep.weight", "a.03.14.weight"]
    assert rename_keys(strange, TABLE) == ({}, strange)


def test_a_number_of_absurd_length_is_no_number():
    assert rename_keys([f"a.{'9' * 5000}.special.weight"], TABLE)[0] == {}


def test_a_table_reads_both_ways():
    state = {"a.3.special.weight": torch.ones(1), "a.3.14.bias": torch.ones(2), "lone": torch.ones(3)}
    renamed, _ = rename(state, TABLE)
    again, left = rename(renamed, backwards(TABLE))
    assert again == state
    assert not left


def test_patterns_count_in_their_own_way_in_both_directions():
    keys = ["f.1.0.weight", "f.2.weight", "f.3.1.bias", "f.4.bias", "stage1"]
    renamed, left = rename_keys(keys, COUNTED)
    assert list(renamed.values()) == [
        "stages.0.0.weight",
        "merges.0.weight",
        "stages.1.1.bias",
        "merges.1.bias",
        "norms.0",
    ]
    assert not left
    assert list(rename_keys(renamed.values(), backwards(COUNTED))[0].values()) == keys
    assert rename_keys(["f.2.0.weight", "f.0.weight", "stage0"], COUNTED)[0] == {}


def test_of_two_spellings_both_are_read_and_the_first_is_written():
    table = {"new.*": "ours.*", "old.*": "ours.*"}
    assert rename_keys(["old.weight"], table)[0] == {"old.weight": "ours.weight"}
    assert backwards(table) == {"ours.*": "new.*"}


def test_one_tensor_under_two_spellings_is_refused():
    with pytest.raises(UserError, match=r"twice, as old\.weight and as new\.weight"):
        rename_keys(["old.weight", "new.weight"], {"new.*": "ours.*", "old.*": "ours.*"})


def test_a_dot_in_a_pattern_is_a_dot():
    assert rename_keys(["axmask"], {"a.mask": "mask"}) == ({}, ["axmask"])


def test_a_nested_table_has_its_surroundings_on_both_sides():
    assert nested("layers.{s}.", "stages.{s}.", {"norm.*": "norm1.*"}) == {"layers.{s}.norm.*": "stages.{s}.norm1.*"}
