import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from muntin.data import Augment, PictureInput, picture_sample, train_transform
from muntin.data.transforms.pixels import Normalise

INPUTS = PictureInput(image_size=(48, 64), crop_ratio=0.9)
RECIPE = Augment(crop="auto", flip=0.5, randaugment=9, erasing=0.25, rotate=5, translate=0.1)


def _photo():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8))


def _image(transform, seed=0):
    """What the transform makes of the photo."""
    return transform(picture_sample(_photo(), "photo"), np.random.default_rng(seed)).inputs["image"]


def test_augment_without_changes_is_evaluation():
    assert torch.equal(_image(train_transform(INPUTS, Augment())), _image(INPUTS.eval_transform()))


def test_the_draw_decides():
    transform = train_transform(INPUTS, RECIPE)
    one, again, other = (_image(transform, seed) for seed in (1, 1, 2))
    assert one.shape == (3, 48, 64)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_transforms_survive_pickling():
    transform = train_transform(INPUTS, Augment(three_augment=True, color_jitter=0.3, crop="simple", zoom=(0.9, 1.1)))
    for each in (transform, train_transform(INPUTS, RECIPE), INPUTS.eval_transform()):
        assert torch.equal(_image(pickle.loads(pickle.dumps(each))), _image(each))


def test_flip_mirrors_half_of_the_pictures():
    transform = train_transform(INPUTS, Augment(flip=0.5))
    straight = _image(INPUTS.eval_transform())
    images = [_image(transform, seed) for seed in range(60)]
    flipped = [torch.equal(image, straight.flip(-1)) for image in images]
    assert all(flip or torch.equal(image, straight) for flip, image in zip(flipped, images))
    assert 15 < sum(flipped) < 45


@pytest.mark.parametrize(("side", "expected"), [(32, "padded"), (33, "resized")])
def test_auto_pads_small_sizes_and_resizes_large_ones(side, expected):
    inputs = PictureInput(image_size=(side, side))
    auto, named = (_image(train_transform(inputs, Augment(crop=crop)), 3) for crop in ("auto", expected))
    assert torch.equal(auto, named)


def test_grey_pictures_go_through_the_whole_recipe():
    inputs = PictureInput(image_size=(28, 28), crop_ratio=0, mean=(0.13,), std=(0.3,))
    transform = train_transform(inputs, RECIPE)
    for seed in range(40):
        assert _image(transform, seed).shape == (1, 28, 28)


def test_the_simple_crop_keeps_the_scale_and_the_aspect():
    transform = train_transform(INPUTS, Augment(crop="simple"))
    photo = _photo()  # 90 high, 70 wide: 64 wide makes it 82 high
    mirrored = np.pad(np.asarray(photo.resize((64, 82), Image.Resampling.BICUBIC)), ((4, 4), (4, 4), (0, 0)), "reflect")
    whole = Normalise(INPUTS.mean, INPUTS.std).tensor(Image.fromarray(mirrored))
    tops = set()
    for seed in range(30):
        image = _image(transform, seed)
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
        [_image(train_transform(INPUTS, augment), seed) for seed in range(5)]
        for augment in (Augment(randaugment=9, **changes), Augment(randaugment=9, flip=0.5))
    )
    assert all(map(torch.equal, with_jitter, without))
    plain = _image(train_transform(INPUTS, Augment(flip=0.5)))
    jittered = _image(train_transform(INPUTS, Augment(**changes)))
    assert not torch.equal(plain, jittered)


def test_three_augment_and_jitter_come_after_crop_and_flip_in_both_colours():
    for mean, std in (((0.5,) * 3, (0.5,) * 3), ((0.13,), (0.3,))):
        inputs = PictureInput(image_size=(20, 20), mean=mean, std=std)
        transform = train_transform(
            inputs, Augment(crop="simple", flip=0.5, three_augment=True, color_jitter=0.3, erasing=0.25)
        )
        images = [_image(transform, seed) for seed in range(20)]
        assert {image.shape for image in images} == {(len(mean), 20, 20)}
