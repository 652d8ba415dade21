import pickle

import numpy as np
import pytest

from muntin.data import Digits, open_data
from muntin.errors import UserError


def test_the_split_is_balanced_and_disjoint():
    train, val = Digits("train"), Digits("val")
    for source, count in ((train, 400), (val, 100)):
        assert np.bincount([source.label(i) for i in range(len(source))]).tolist() == [count] * 10
    pictures = {source.read(i).inputs["image"].tobytes() for source in (train, val) for i in range(len(source))}
    assert len(pictures) == 5000


def test_a_digit():
    inputs, target, name, place = Digits("train").read(17)
    image = inputs["image"]
    assert (image.mode, image.size, name, place.size) == ("L", (28, 28), "digits/train/00017", (28, 28))
    assert target == {"label": Digits("train").label(17)}
    assert image.getpixel((0, 0)) == 0  # white on black
    assert image.getextrema()[1] > 200


def test_labels_belong_to_their_pictures():
    # the mean picture of each class recognises most held-out digits; shuffled labels would give 10 %
    def arrays(source):
        return np.stack([np.asarray(source.read(i).inputs["image"], np.float32) for i in range(len(source))]), np.array(
            [source.label(i) for i in range(len(source))]
        )

    (x, y), (x_val, y_val) = arrays(Digits("train")), arrays(Digits("val"))
    means = np.stack([x[y == digit].mean(0) for digit in range(10)]).reshape(10, -1)
    distance = ((x_val.reshape(-1, 1, 784) - means) ** 2).sum(-1)
    assert (distance.argmin(1) == y_val).mean() > 0.75


def test_a_worker_gets_the_split_not_the_pictures():
    assert len(pickle.dumps(Digits("val"))) < 200


def test_open_data_knows_it_with_and_without_labels():
    train, val = open_data("digits")
    assert (len(train), len(val), train.classes[3]) == (4000, 1000, "3")
    assert open_data("digits", labelled=False).train.read(0).target == {}


def test_an_unknown_split():
    with pytest.raises(UserError, match="unknown split of digits 'test'"):
        Digits("test")
