import json

import numpy as np
import pytest
import torch

from muntin.data import Augment, Batch, make_mixing
from muntin.data.loading.mixing import Draw, Mixing, cut_box, mix, own_share, sides_box, soft_target


@pytest.mark.reference
@pytest.mark.parametrize("case", ["recipes/mixup_cutmix"])
def test_arithmetic_is_the_recipes(reference, case):
    tensors, metadata = reference(case)
    for name, setting in json.loads(metadata["config"]).items():
        image, labels, lam = tensors[f"input/{name}/image"], tensors[f"input/{name}/labels"], setting["lam_drawn"]
        box = (*setting["box_rows"], *setting["box_cols"]) if setting["use_cutmix"] else None
        if box:
            lam = own_share(box, image.shape[-2:])
            assert lam == pytest.approx(setting["lam_corrected"], abs=1e-12)
        mixed = mix(image, image.flip(0), Draw(lam, box))
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
    batch = Batch({"image": torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 1, 6, 6)}, {"label": torch.arange(4)})
    mixed = Mixing(4, mixup=0.8)(batch, np.random.default_rng(0))
    lam = mixed.target["soft"][0, 0]
    assert 0 < lam < 1
    torch.testing.assert_close(mixed.inputs["image"][0], torch.full((1, 6, 6), 3 * (1 - lam.item())))
    assert mixed.target["label"].tolist() == [0, 1, 2, 3]
    assert batch.inputs["image"][0].max() == 0  # the given batch is left alone


def test_both_on_switches_between_them():
    batch = Batch({"image": torch.arange(2.0).reshape(2, 1, 1, 1).expand(2, 1, 8, 8)}, {"label": torch.arange(2)})
    mixing = Mixing(2, mixup=0.8, cutmix=1.0, mix_probability=0.6, mix_switch=0.25)
    kinds = {"none": 0, "mixup": 0, "cutmix": 0}
    for seed in range(1000):
        values = mixing(batch, np.random.default_rng(seed)).inputs["image"][0].unique()
        kinds["cutmix" if len(values) == 2 else "none" if values[0] in (0, 1) else "mixup"] += 1
    assert abs(kinds["mixup"] / 1000 - 0.45) < 0.06
    assert abs(kinds["cutmix"] / 1000 - 0.15) < 0.05


def _batch(count):
    return Batch({"image": torch.randn(count, 2, 9, 12)}, {"label": torch.arange(count) % 4})


def _one_by_one(batch, draws, smoothing):
    """What the recipes' text says (specs section 2), picture by picture."""
    image, label = batch.inputs["image"], batch.target["label"]
    expected, targets = image.clone(), torch.zeros(len(image), 4)
    for i, draw in enumerate(draws):
        j, lam = len(image) - 1 - i, draw.lam
        if draw.box is None:
            expected[i] = lam * image[i] + (1 - lam) * image[j]
        else:
            top, bottom, left, right = draw.box
            expected[i, :, top:bottom, left:right] = image[j, :, top:bottom, left:right]
            lam = 1 - (bottom - top) * (right - left) / (9 * 12)
        for place, share in ((i, lam), (j, 1 - lam)):
            targets[i] += share * smoothing / 4
            targets[i, label[place]] += share * (1 - smoothing)
    return expected, targets


@pytest.mark.parametrize("count", [6, 7])
@pytest.mark.parametrize(("mode", "order"), [("element", range(7)), ("pair", (0, 1, 2, 3, 2, 1, 0))])
def test_pairs_or_pictures_have_draws_of_their_own(mode, order, count):
    mixing = Mixing(4, mixup=0.8, cutmix=1.0, mix_mode=mode, mix_probability=0.8, smoothing=0.1)
    if count == 6 and mode == "pair":
        order = (0, 1, 2, 2, 1, 0)
    kinds, batch = set(), _batch(count)
    for seed in range(20):
        mixed, rng = mixing(batch, np.random.default_rng(seed)), np.random.default_rng(seed)
        drawn = [mixing.draw((9, 12), rng) for _ in set(order[:count])]
        image, target = _one_by_one(batch, [drawn[number] for number in order[:count]], 0.1)
        torch.testing.assert_close(mixed.inputs["image"], image)
        torch.testing.assert_close(mixed.target["soft"], target)
        kinds |= {"cutmix" if draw.box else "mixup" if draw.lam < 1 else "none" for draw in drawn}
    assert kinds == {"cutmix", "mixup", "none"}


@pytest.mark.parametrize("mode", ["batch", "pair", "element"])
def test_the_middle_picture_of_an_odd_batch_stays_as_it_is(mode):
    batch, others_change = _batch(5), False
    for seed in range(20):
        mixed = Mixing(4, mixup=0.8, cutmix=1.0, mix_mode=mode)(batch, np.random.default_rng(seed))
        torch.testing.assert_close(mixed.inputs["image"][2], batch.inputs["image"][2])
        torch.testing.assert_close(mixed.target["soft"][2], torch.eye(4)[2])
        others_change |= not torch.equal(mixed.inputs["image"][0], batch.inputs["image"][0])
    assert others_change


def test_sides_of_the_box_can_be_drawn_instead_of_lambda():
    boxes = [sides_box((10, 20), (0.2, 0.5), np.random.default_rng(seed)) for seed in range(3000)]
    heights, widths = {b - t for t, b, _, _ in boxes}, {r - left for _, _, left, r in boxes}
    assert (heights, widths) == (set(range(2, 6)), set(range(4, 11)))
    assert all(0 <= t < b <= 10 and 0 <= left < r <= 20 for t, b, left, r in boxes)
    assert ({t for t, *_ in boxes}, {r for *_, r in boxes}) == (set(range(9)), set(range(4, 21)))
    mixing = make_mixing(Augment(cutmix=1.0, cutmix_sides=(0.5, 0.5), mix_mode="element"), 4)
    target = mixing(_batch(4), np.random.default_rng(0)).target["soft"]
    torch.testing.assert_close(target, torch.eye(4) * (1 - 24 / 108) + torch.eye(4).flip(0) * 24 / 108)


def test_boxes_on_clips_are_cut_along_height_and_width_for_all_frames():
    clip = torch.arange(2.0).reshape(2, 1, 1, 1, 1).expand(2, 1, 3, 8, 10)
    mixed = Mixing(2, cutmix=1.0)(Batch({"image": clip}, {"label": torch.arange(2)}), np.random.default_rng(1))
    image, share = mixed.inputs["image"], mixed.target["soft"][0, 0].item()
    assert 0 < share < 1
    assert image[0].mean().item() == pytest.approx(1 - share)
    for frame in range(3):
        assert torch.equal(image[0, 0, frame], image[0, 0, 0])


def test_smoothing_alone_gives_targets_and_leaves_pictures():
    mixing = make_mixing(Augment(smoothing=0.1), 5)
    batch = Batch({"image": torch.randn(3, 1, 4, 4)}, {"label": torch.tensor([0, 2, 4])})
    mixed = mixing(batch, np.random.default_rng(0))
    assert torch.equal(mixed.inputs["image"], batch.inputs["image"])
    logits = torch.randn(3, 5)
    soft = -(mixed.target["soft"] * logits.log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(
        soft, torch.nn.functional.cross_entropy(logits, batch.target["label"], label_smoothing=0.1)
    )


def test_all_off_is_none():
    assert make_mixing(Augment(flip=0.5), 5) is None
