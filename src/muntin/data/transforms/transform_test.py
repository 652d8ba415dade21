import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from muntin.data import Augment, MaskGenerator, Preprocess, eval_transform, mask_transform, train_transform
from muntin.errors import UserError

PREPROCESS = Preprocess(image_size=(48, 64), crop_ratio=0.9)
RECIPE = Augment(crop="auto", flip=0.5, randaugment=9, erasing=0.25, rotate=5, translate=0.1)


def _photo():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8))


def test_augment_without_changes_is_evaluation():
    expected = eval_transform(PREPROCESS)(_photo())["image"]
    assert torch.equal(expected, PREPROCESS.transform()(_photo()))
    assert torch.equal(train_transform(PREPROCESS, Augment())(_photo())["image"], expected)


def test_the_draw_decides():
    transform = train_transform(PREPROCESS, RECIPE)
    one, again, other = (transform(_photo(), np.random.default_rng(seed))["image"] for seed in (1, 1, 2))
    assert one.shape == (3, 48, 64)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(transform(_photo())["image"], transform(_photo())["image"])


def test_flip_mirrors_half_of_the_pictures():
    transform = train_transform(PREPROCESS, Augment(flip=0.5))
    straight = PREPROCESS.transform()(_photo())
    images = [transform(_photo(), np.random.default_rng(seed))["image"] for seed in range(60)]
    flipped = [torch.equal(image, straight.flip(-1)) for image in images]
    assert all(flip or torch.equal(image, straight) for flip, image in zip(flipped, images))
    assert 15 < sum(flipped) < 45


@pytest.mark.parametrize(("side", "expected"), [(32, "padded"), (33, "resized")])
def test_auto_pads_small_sizes_and_resizes_large_ones(side, expected):
    preprocess = Preprocess(image_size=(side, side))
    auto = train_transform(preprocess, Augment(crop="auto"))(_photo(), np.random.default_rng(3))["image"]
    named = train_transform(preprocess, Augment(crop=expected))(_photo(), np.random.default_rng(3))["image"]
    assert torch.equal(auto, named)


def test_masks_come_with_the_pictures_and_survive_pickling():
    transform = pickle.loads(pickle.dumps(mask_transform(PREPROCESS, RECIPE, MaskGenerator((48, 64), 16, 4))))
    item = transform(_photo(), np.random.default_rng(0))
    assert item["image"].shape == (3, 48, 64)
    assert item["mask"].shape == (12, 16)
    assert item["mask"].sum() == 8 * 16  # ceil(0.6 * 12) cells of 4 x 4 tokens
    assert not torch.equal(item["mask"], transform(_photo(), np.random.default_rng(1))["mask"])


def test_masks_for_another_size_are_refused():
    with pytest.raises(UserError, match=r"masks are for pictures of \(64, 64\), pictures are \(48, 64\)"):
        mask_transform(PREPROCESS, RECIPE, MaskGenerator(64))


def test_grey_pictures_go_through_the_whole_recipe():
    preprocess = Preprocess(image_size=(28, 28), crop_ratio=0, mean=(0.13,), std=(0.3,))
    transform = train_transform(preprocess, RECIPE)
    for seed in range(40):
        assert transform(_photo(), np.random.default_rng(seed))["image"].shape == (1, 28, 28)


def test_the_simple_crop_keeps_the_scale_and_the_aspect():
    transform = train_transform(PREPROCESS, Augment(crop="simple"))
    photo = _photo()  # 90 high, 70 wide: 64 wide makes it 82 high
    mirrored = np.pad(np.asarray(photo.resize((64, 82), Image.Resampling.BICUBIC)), ((4, 4), (4, 4), (0, 0)), "reflect")
    whole = PREPROCESS.to_tensor(Image.fromarray(mirrored))
    tops = set()
    for seed in range(30):
        image = transform(photo, np.random.default_rng(seed))["image"]
        (place,) = [
            (top, left)
            for top in range(90 - 48 + 1)
            for left in range(9)
            if torch.equal(whole[:, top : top + 48, left : left + 64], image)
        ]
        tops.add(place[0])
    assert min(tops) < 12
    assert max(tops) > 30


def test_colour_jitter_has_no_effect_beside_randaugment():
    changes = {"flip": 0.5, "color_jitter": 0.3}
    with_jitter, without = (
        [train_transform(PREPROCESS, augment)(_photo(), np.random.default_rng(seed))["image"] for seed in range(5)]
        for augment in (Augment(randaugment=9, **changes), Augment(randaugment=9, flip=0.5))
    )
    assert all(map(torch.equal, with_jitter, without))
    plain = train_transform(PREPROCESS, Augment(flip=0.5))(_photo(), np.random.default_rng(0))["image"]
    jittered = train_transform(PREPROCESS, Augment(**changes))(_photo(), np.random.default_rng(0))["image"]
    assert not torch.equal(plain, jittered)


def test_three_augment_and_jitter_come_after_crop_and_flip_in_both_colours():
    for mean, std in (((0.5,) * 3, (0.5,) * 3), ((0.13,), (0.3,))):
        preprocess = Preprocess(image_size=(20, 20), mean=mean, std=std)
        transform = train_transform(
            preprocess, Augment(crop="simple", flip=0.5, three_augment=True, color_jitter=0.3, erasing=0.25)
        )
        images = [transform(_photo(), np.random.default_rng(seed))["image"] for seed in range(20)]
        assert {image.shape for image in images} == {(len(mean), 20, 20)}
