import json

import numpy as np
import pytest
import torch

from muntin.data import Augment, make_mixing
from muntin.data.mixing import Mixing, cut_box, cutmix, mixup, soft_target


@pytest.mark.reference
@pytest.mark.parametrize("case", ["recipes/mixup_cutmix"])
def test_arithmetic_is_the_recipes(reference, case):
    tensors, metadata = reference(case)
    for name, setting in json.loads(metadata["config"]).items():
        image, labels, lam = tensors[f"input/{name}/image"], tensors[f"input/{name}/labels"], setting["lam_drawn"]
        if setting["use_cutmix"]:
            mixed, lam = cutmix(image, (*setting["box_rows"], *setting["box_cols"]))
            assert lam == pytest.approx(setting["lam_corrected"], abs=1e-12)
        else:
            mixed = mixup(image, lam)
        target = soft_target(labels, setting["num_classes"], lam, setting["label_smoothing"])
        torch.testing.assert_close(mixed, tensors[f"output/{name}/image"], rtol=0, atol=1e-6)
        torch.testing.assert_close(target, tensors[f"output/{name}/target"], rtol=0, atol=1e-6)


@pytest.mark.reference
@pytest.mark.parametrize("case", ["recipes/mixup_cutmix"])
def test_boxes_are_the_recipes_for_their_draws(reference, case):
    tensors, metadata = reference(case)
    for name, setting in json.loads(metadata["config"]).items():
        if setting["use_cutmix"]:
            size = tuple(tensors[f"input/{name}/image"].shape[-2:])
            boxes = {cut_box(size, setting["lam_drawn"], (y, x)) for y in range(size[0]) for x in range(size[1])}
            assert (*setting["box_rows"], *setting["box_cols"]) in boxes


def test_boxes_are_clipped_at_the_border():
    assert cut_box((10, 20), 0.75, (0, 19)) == (0, 2, 14, 20)


def test_a_batch_is_mixed_with_itself_backwards():
    batch = {"image": torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 1, 6, 6), "label": torch.arange(4)}
    mixed = Mixing(4, mixup=0.8)(batch, np.random.default_rng(0))
    lam = mixed["target"][0, 0]
    assert 0 < lam < 1
    torch.testing.assert_close(mixed["image"][0], torch.full((1, 6, 6), 3 * (1 - lam.item())))
    assert mixed["label"].tolist() == [0, 1, 2, 3]
    assert batch["image"][0].max() == 0  # the given batch is left alone


def test_both_on_switches_between_them():
    batch = {"image": torch.arange(2.0).reshape(2, 1, 1, 1).expand(2, 1, 8, 8), "label": torch.arange(2)}
    mixing = Mixing(2, mixup=0.8, cutmix=1.0, mix_probability=0.6, mix_switch=0.25)
    kinds = {"none": 0, "mixup": 0, "cutmix": 0}
    for seed in range(1000):
        values = mixing(batch, np.random.default_rng(seed))["image"][0].unique()
        kinds["cutmix" if len(values) == 2 else "none" if values[0] in (0, 1) else "mixup"] += 1
    assert abs(kinds["mixup"] / 1000 - 0.45) < 0.06
    assert abs(kinds["cutmix"] / 1000 - 0.15) < 0.05


def test_smoothing_alone_gives_targets_and_leaves_pictures():
    mixing = make_mixing(Augment(smoothing=0.1), 5)
    batch = {"image": torch.randn(3, 1, 4, 4), "label": torch.tensor([0, 2, 4])}
    mixed = mixing(batch, np.random.default_rng(0))
    assert torch.equal(mixed["image"], batch["image"])
    logits = torch.randn(3, 5)
    soft = -(mixed["target"] * logits.log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(soft, torch.nn.functional.cross_entropy(logits, batch["label"], label_smoothing=0.1))


def test_all_off_is_none():
    assert make_mixing(Augment(flip=0.5), 5) is None
