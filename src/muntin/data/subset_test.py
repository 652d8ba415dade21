import pytest

from muntin.data import Digits, Subset, WithoutLabels, few_labels
from muntin.errors import UserError


def test_subset_keeps_order_and_classes():
    digits = Digits("train")
    part = Subset(digits, [7, 3])
    assert len(part) == 2
    assert part.classes == digits.classes
    assert (part.name(0), part.label(1)) == (digits.name(7), digits.label(3))
    assert part.read(1).name == digits.name(3)


def test_few_labels_draws_as_many_of_each_class():
    part = few_labels(Digits("train"), 3, seed=1)
    assert sorted(part.label(i) for i in range(len(part))) == sorted([*range(10)] * 3)
    assert part.indices == few_labels(Digits("train"), 3, seed=1).indices
    assert part.indices != few_labels(Digits("train"), 3, seed=2).indices
    assert set(part.indices) < set(few_labels(Digits("train"), 5, seed=1).indices)


def test_few_labels_says_which_classes_are_too_small():
    part = Subset(Digits("train"), [i for i in range(4000) if Digits("train").label(i) != 3])
    with pytest.raises(UserError, match=r"too few pictures in: 3 \(0\)"):
        few_labels(part, 1, seed=0)
    with pytest.raises(UserError, match="at least 1"):
        few_labels(Digits("train"), 0, seed=0)
    with pytest.raises(UserError, match="have none"):
        few_labels(WithoutLabels(Digits("train")), 1, seed=0)
