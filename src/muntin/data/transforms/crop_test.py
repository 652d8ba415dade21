import numpy as np
import pytest
from PIL import Image

from muntin.data import picture_sample
from muntin.data.transforms.crop import PaddedCrop, RandomResizedCrop, ReflectedCrop, crop_box


def _crop(change, photo, rng):
    return change(picture_sample(photo, "photo"), rng).inputs["image"]


@pytest.mark.parametrize(("size", "aspect"), [((60, 90), 1.0), ((60, 90), 2.0), ((300, 40), 1.0)])
def test_boxes_lie_inside_and_cover_the_ranges(size, aspect):
    rng = np.random.default_rng(0)
    boxes = [crop_box(size, aspect, (0.08, 1.0), (3 / 4, 4 / 3), rng) for _ in range(500)]
    for top, left, height, width in boxes:
        assert 0 <= top <= top + height <= size[0]
        assert 0 <= left <= left + width <= size[1]
        assert 3 / 4 * aspect - 0.15 * aspect < width / height < 4 / 3 * aspect + 0.15 * aspect
    areas = [height * width / (size[0] * size[1]) for _, _, height, width in boxes]
    assert min(areas) > 0.06
    if size == (60, 90):
        assert max(areas) > 0.5


def test_a_picture_too_long_for_any_attempt_is_cropped_in_the_centre():
    whole, ratio, rng = (1.0, 1.0), (3 / 4, 4 / 3), np.random.default_rng(0)
    assert crop_box((10, 1000), 1.0, whole, ratio, rng) == (0, (1000 - 13) // 2, 10, 13)
    assert crop_box((1000, 10), 1.0, whole, ratio, rng) == ((1000 - 13) // 2, 0, 13, 10)


def test_the_whole_picture_is_only_resized():
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    change = RandomResizedCrop((16, 16), (1.0, 1.0), (1.0, 1.0), Image.Resampling.BICUBIC)
    assert (
        _crop(change, photo, np.random.default_rng(0)).tobytes()
        == photo.resize((16, 16), Image.Resampling.BICUBIC).tobytes()
    )


def test_a_padded_crop_is_a_shift_with_black_borders():
    photo = Image.fromarray(np.arange(1, 37, dtype=np.uint8).reshape(6, 6))
    padded = np.pad(np.asarray(photo), 2)
    windows = {padded[top : top + 6, left : left + 6].tobytes() for top in range(5) for left in range(5)}
    rng = np.random.default_rng(0)
    assert {_crop(PaddedCrop(2), photo, rng).tobytes() for _ in range(400)} == windows


def test_a_reflected_crop_is_any_part_of_the_mirrored_picture():
    photo = Image.fromarray(np.arange(1, 64, dtype=np.uint8).reshape(7, 9))
    padded = np.pad(np.asarray(photo), 2, mode="reflect")
    windows = {padded[top : top + 6, left : left + 9].tobytes() for top in range(6) for left in range(5)}
    rng = np.random.default_rng(0)
    crops = [_crop(ReflectedCrop((6, 9), 2), photo, rng) for _ in range(600)]
    assert {crop.size for crop in crops} == {(9, 6)}
    assert {crop.tobytes() for crop in crops} == windows
