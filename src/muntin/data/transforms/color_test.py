import itertools

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from muntin.data import picture_sample
from muntin.data.transforms import color
from muntin.data.transforms.color import ColorJitter

ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


def _photo():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((33, 25))


def _jittered(photo, strength, rng):
    return ColorJitter(strength)(picture_sample(photo, "photo"), rng).inputs["image"]


def test_each_picture_is_the_three_changes_in_the_drawn_order():
    for seed in range(20):
        expected, rng = _photo(), np.random.default_rng(seed)
        for change in rng.permutation(3):
            expected = ENHANCERS[change](expected).enhance(rng.uniform(0.7, 1.3))
        assert _jittered(_photo(), 0.3, np.random.default_rng(seed)).tobytes() == expected.tobytes()


def test_all_orders_and_the_whole_range_of_factors_are_drawn(monkeypatch):
    calls = []

    class Recorded:
        def __getattr__(self, name):
            return lambda image, factor: calls.append((name, factor))

    monkeypatch.setattr(color, "functional", Recorded)
    rng = np.random.default_rng(0)
    for _ in range(400):
        _jittered(_photo(), 0.3, rng)
    names, factors = zip(*calls)
    orders = {names[start : start + 3] for start in range(0, len(names), 3)}
    assert orders == set(itertools.permutations(["adjust_brightness", "adjust_contrast", "adjust_saturation"]))
    assert (min(factors), max(factors)) == (pytest.approx(0.7, abs=0.01), pytest.approx(1.3, abs=0.01))


def test_grey_pictures_stay_grey():
    assert _jittered(_photo().convert("L"), 1.0, np.random.default_rng(0)).mode == "L"
