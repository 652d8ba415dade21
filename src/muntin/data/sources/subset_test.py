import time

import numpy as np
import pytest

from muntin.data import Digits, Subset, WithoutLabels, few_labels
from muntin.data.sources.files import Files
from muntin.data.sources.subset import hold_out
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
    with pytest.raises(UserError, match=r"these classes have fewer pictures: 3 \(0\)"):
        few_labels(part, 1, seed=0)
    with pytest.raises(UserError, match="at least 1"):
        few_labels(Digits("train"), 0, seed=0)
    with pytest.raises(UserError, match="have none"):
        few_labels(WithoutLabels(Digits("train")), 1, seed=0)


def test_held_out_samples_are_drawn_by_class_and_seed():
    digits = Digits("train")
    labels = np.array([digits.label(index) for index in range(len(digits))])
    drawn = [np.random.default_rng((7, label)).permutation(np.flatnonzero(labels == label))[:40] for label in range(10)]
    assert hold_out(digits, 0.1, seed=7).val.indices == sorted(np.concatenate(drawn).tolist())


def test_time_grows_with_the_samples_not_with_samples_times_classes():
    classes = [f"n{number}" for number in range(20_000)]
    many = Files([""] * 200_000, [number // 10 for number in range(200_000)], tuple(classes))
    start = time.process_time()
    assert len(hold_out(many, 0.1, seed=0).val) == 20_000
    assert len(few_labels(many, 2, seed=0)) == 40_000
    assert time.process_time() - start < 10  # 1 s; with a search for each class 3 s here, and hours for ImageNet-22K
