import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from muntin.data import picture_sample
from muntin.data.transforms.three_augment import three_augment


def _photo():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((33, 25))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_exactly_one_of_the_three_is_applied_and_each_as_often(mode):
    photo, counts = _photo().convert(mode), {"grey": 0, "solarised": 0, "blurred": 0}
    wanted = {"grey": ImageOps.grayscale(photo).convert(mode), "solarised": ImageOps.solarize(photo)}
    for seed in range(600):
        got = three_augment(picture_sample(photo, "photo"), np.random.default_rng(seed)).inputs["image"]
        assert got.mode == mode
        (kind,) = [name for name, each in wanted.items() if each.tobytes() == got.tobytes()] or ["blurred"]
        if kind == "blurred":
            rng = np.random.default_rng(seed)
            rng.integers(3)
            blurred = photo.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 2.0)))
            assert got.tobytes() == blurred.tobytes()
        counts[kind] += 1
    assert all(150 < count < 250 for count in counts.values())
