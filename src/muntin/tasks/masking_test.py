import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from muntin.data import picture_sample
from muntin.errors import UserError
from muntin.tasks import MaskGenerator


@pytest.mark.reference
@pytest.mark.parametrize("case", ["simmim/mask_generator"])
def test_masks_are_the_official_ones(reference, case):
    tensors, metadata = reference(case)
    for number, setting in enumerate(json.loads(metadata["config"])):
        masking = MaskGenerator(
            setting["input_size"], setting["mask_patch_size"], setting["model_patch_size"], setting["mask_ratio"]
        )
        rng = np.random.RandomState(setting["np_seed"])
        for expected in tensors[f"output/mask{number}"]:
            mask = masking(rng)
            assert mask.dtype == torch.int64
            assert torch.equal(mask, expected.long())


def test_non_square_pictures():
    mask = MaskGenerator((64, 96), 32, 16, 0.5)(np.random.default_rng(0))
    assert mask.shape == (4, 6)
    assert mask.sum() == 3 * 4
    cells = mask.reshape(2, 2, 3, 2).transpose(1, 2).flatten(2)
    assert torch.equal(cells.amin(-1), cells.amax(-1))  # whole cells


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((100, 32, 4), "mask patches of 32 pixels do not divide pictures of 100 x 100"),
        (((64, 100), 32, 4), "do not divide pictures of 64 x 100"),
        ((64, 32, 5), r"no whole number of model patches \(5\)"),
        ((64, 32, 0), "no whole number"),
        ((64, 32, 4, 0.0), "must be above 0"),
        ((64, 32, 4, 1.2), "must be above 0, to 1"),
    ],
)
def test_sizes_that_do_not_divide_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        MaskGenerator(*arguments)


def test_masks_come_with_the_samples_and_survive_pickling():
    sample = picture_sample(Image.new("L", (64, 48)), "photo")
    prepare = pickle.loads(pickle.dumps(MaskGenerator((48, 64), 16, 4).prepare))
    one, other = (prepare(sample, np.random.default_rng(seed), True).inputs for seed in (0, 1))
    assert one["image"] is sample.inputs["image"]
    assert one["mask"].shape == (12, 16)
    assert one["mask"].sum() == 8 * 16  # ceil(0.6 * 12) cells of 4 x 4 tokens
    assert not torch.equal(one["mask"], other["mask"])
