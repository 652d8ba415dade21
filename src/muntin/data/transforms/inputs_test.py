import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from muntin.data import picture_sample
from muntin.data.transforms.inputs import PictureInput, inputs_from
from muntin.data.transforms.transform import InOrder
from muntin.data.transforms.vision import functional
from muntin.errors import UserError


def _photo(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height))


def _input(inputs, photo):
    """What the model is fed."""
    return inputs.eval_transform()(picture_sample(photo, "photo"), np.random.default_rng(0)).inputs["image"]


def _fitted(inputs, photo):
    """The picture, resized and cropped."""
    return InOrder(inputs.fit())(picture_sample(photo, "photo"), np.random.default_rng(0)).inputs["image"]


@pytest.mark.parametrize("size", [(93, 61), (61, 93), (64, 64), (200, 51), (40, 31)])
@pytest.mark.parametrize(
    ("ratio", "interpolation"), [(0.875, "bicubic"), (1.0, "bilinear"), (0.9, "bicubic"), (0, "bicubic")]
)
def test_equals_torchvision(size, ratio, interpolation):
    F, side, photo = functional(), 32, _photo(*size)
    how = F.InterpolationMode(interpolation)
    resized = F.resize(photo, [int(side / ratio)] if ratio else [side, side], how, antialias=True)
    pixels = F.to_dtype(F.pil_to_tensor(F.center_crop(resized, [side, side])), torch.float32, scale=True)
    preprocess = PictureInput(image_size=(side, side), crop_ratio=ratio, interpolation=interpolation)
    expected = F.normalize(pixels, list(preprocess.mean), list(preprocess.std))
    torch.testing.assert_close(_input(preprocess, photo), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("photo", [(200, 50), (50, 200), (120, 60), (61, 30), (7, 5)])
@pytest.mark.parametrize("ratio", [0.0, 0.7, 1.0])
def test_non_square_sizes_are_covered_without_borders(photo, ratio):
    preprocess = PictureInput(image_size=(24, 48), crop_ratio=ratio, mean=(0.0,) * 3, std=(1.0,) * 3)
    x = _input(preprocess, Image.new("RGB", photo, "white"))
    assert x.shape == (3, 24, 48)
    assert x.min() == 1


def test_keeps_the_aspect_of_a_non_square_size():
    image = _fitted(PictureInput(image_size=(20, 40), crop_ratio=0.5), _photo(100, 50))
    expected = _photo(100, 50).resize((80, 40), Image.Resampling.BICUBIC).crop((20, 10, 60, 30))
    assert image.tobytes() == expected.tobytes()


def test_grey_preprocessing_takes_colour_pictures_and_the_other_way_round():
    grey = PictureInput(image_size=(8, 8), mean=(0.5,), std=(0.5,))
    assert _input(grey, _photo(9, 9)).shape == (1, 8, 8)
    assert _input(PictureInput(image_size=(8, 8)), _photo(9, 9).convert("L")).shape == (3, 8, 8)


def test_other_channel_counts_are_refused_for_pictures():
    with pytest.raises(UserError, match=r"mean has 4 and std 4 values; .* pictures have 1 channel"):
        PictureInput(mean=(0.0,) * 4, std=(1.0,) * 4)


def test_travels_as_json_and_pickle():
    preprocess = PictureInput(image_size=(192, 256), crop_ratio=0, interpolation="bilinear", mean=(0.1,), std=(0.3,))
    assert inputs_from(json.loads(json.dumps(preprocess.to_dict()))) == preprocess
    photo = _photo(9, 9)
    assert torch.equal(_input(pickle.loads(pickle.dumps(preprocess)), photo), _input(preprocess, photo))


def test_the_kind_is_written_and_a_file_without_it_is_a_picture():
    values = PictureInput(image_size=(8, 8)).to_dict()
    assert values["kind"] == "picture"
    old = {name: value for name, value in values.items() if name != "kind"}
    assert inputs_from(old) == inputs_from(values) == PictureInput(image_size=(8, 8))
    for kind in ("clip", 3, None, ["picture"]):
        with pytest.raises(UserError, match="unknown kind of input"):
            inputs_from(old | {"kind": kind})


def test_a_file_is_read_as_the_picture_it_is(tmp_path):
    photo, path = _photo(9, 12), tmp_path / "photo.png"
    photo.save(path)
    sample = PictureInput(image_size=(8, 8)).read(path)
    assert (sample.name, sample.target, sample.place.size) == (str(path), {}, (12, 9))
    assert sample.inputs["image"].tobytes() == photo.tobytes()
    with pytest.raises(UserError, match="there is no such file"):
        PictureInput().read(tmp_path / "none.png")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": [224]}, "image_size"),
        ({"image_size": [0, 224]}, "image_size"),
        ({"image_size": [10**9, 224]}, "image_size"),
        ({"image_size": 224}, "image_size must be integers, not 224"),
        ({"image_size": [224.5, 224]}, "image_size must be integers"),
        ({"crop_ratio": 1.5}, "crop_ratio 1.5"),
        ({"crop_ratio": 1e-9}, "crop_ratio 1e-09"),
        ({"crop_ratio": True}, "crop_ratio must be a number"),
        ({"crop_ratio": float("nan")}, "crop_ratio nan"),
        ({"interpolation": "bicubik"}, "did you mean bicubic"),
        ({"interpolation": None}, "interpolation must be a string"),
        ({"mean": [0.5]}, "mean has 1 and std 3 values"),
        ({"mean": [], "std": []}, "mean has 0"),
        ({"std": [0.1, 0, 0.1]}, "std .* positive"),
        ({"mean": [0.1, float("inf"), 0.1]}, "must be finite"),
        ({"mean": ["a", "b", "c"]}, "mean must be numbers"),
        ({"crop": 0.9}, "unknown field of inputs 'crop': did you mean crop_ratio"),
    ],
)
def test_an_untrusted_file_is_checked(change, message):
    with pytest.raises(UserError, match=message):
        inputs_from(PictureInput().to_dict() | change)


def test_missing_fields_and_other_types_are_refused():
    with pytest.raises(UserError, match="lack crop_ratio, interpolation, mean, std"):
        inputs_from({"image_size": [8, 8]})
    with pytest.raises(UserError, match="must be an object"):
        inputs_from([1, 2])


def test_a_thin_line_is_refused_before_it_becomes_a_huge_picture():
    with pytest.raises(UserError, match="a picture of 1 x 60000 would become 256 x 15360000: crop it"):
        _fitted(PictureInput(), Image.new("RGB", (1, 60_000)))
