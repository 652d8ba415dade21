import numpy as np
import torch

from muntin.data import Place, Sample
from muntin.data.transforms.erasing import RandomErasing


def _erased(x, probability, rng):
    sample = Sample({"image": x}, {}, "photo", Place((8, 8)))
    return RandomErasing(probability)(sample, rng).inputs["image"]


def test_erased_part_is_one_rectangle_of_noise_of_the_right_area():
    areas, values = [], []
    for seed in range(200):
        x = _erased(torch.full((3, 32, 48), 100.0), 1.0, np.random.default_rng(seed))
        rows, columns = torch.nonzero(x[0] != 100, as_tuple=True)
        height, width = rows.max() - rows.min() + 1, columns.max() - columns.min() + 1
        assert len(rows) == height * width  # a full rectangle
        assert height < 32
        assert width < 48
        areas.append(len(rows) / (32 * 48))
        values.append(x[x != 100])
    assert 0.015 < min(areas) < 0.05
    assert 0.28 < max(areas) < 0.36
    noise = torch.cat(values)
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01


def test_happens_with_its_probability():
    rng = np.random.default_rng(0)
    erased = [bool(_erased(torch.zeros(1, 8, 8), 0.25, rng).any()) for _ in range(2000)]
    assert abs(np.mean(erased) - 0.25) < 0.03
