import numpy as np
import pytest
from PIL import Image

from muntin.data import picture_sample
from muntin.data.transforms.affine import RandomAffine, about_the_centre
from muntin.data.transforms.transform import warped
from muntin.data.transforms.vision import functional

BICUBIC = Image.Resampling.BICUBIC


def _centre_and_mass(image):
    pixels = np.asarray(image, np.float64)
    rows, columns = np.indices(pixels.shape)
    return (rows * pixels).sum() / pixels.sum(), (columns * pixels).sum() / pixels.sum(), pixels.sum()


def _dot(seed, **changes):
    """A white square in the middle of black, changed."""
    image = Image.new("L", (41, 41))
    image.paste(255, (18, 18, 23, 23))
    arguments = {"rotate": 0.0, "translate": 0.0, "zoom": (1.0, 1.0), "shear": 0.0} | changes
    change = RandomAffine(**arguments, resampling=BICUBIC)
    return change(picture_sample(image, "dot"), np.random.default_rng(seed)).inputs["image"]


def test_nothing_asked_is_nothing_changed():
    assert _dot(0).tobytes() == _dot(1).tobytes()
    assert _centre_and_mass(_dot(0)) == (20, 20, 25 * 255)


def test_shifts_fill_their_range_and_do_not_leave_it():
    rows, columns, _ = np.array([_centre_and_mass(_dot(seed, translate=0.2)) for seed in range(60)]).T
    for shift in (rows - 20, columns - 20):
        assert 6 < np.abs(shift).max() <= 0.2 * 41 + 0.1
        assert shift.min() < -4 < 4 < shift.max()


def test_zoom_stays_within_its_range():
    mass = np.array([_centre_and_mass(_dot(seed, zoom=(1.5, 2.0)))[2] for seed in range(30)]) / (25 * 255)
    assert 1.5**2 * 0.95 < mass.min() < mass.max() < 2.0**2 * 1.05


def test_rotation_and_shear_change_the_picture_but_not_its_centre():
    for change in ({"rotate": 30.0}, {"shear": 20.0}):
        row, column, _ = _centre_and_mass(_dot(3, **change))
        assert _dot(3, **change).tobytes() != _dot(3).tobytes()
        assert abs(row - 20) < 0.1
        assert abs(column - 20) < 0.1


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_equals_torchvision_to_the_last_bit(mode):
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (37, 52, 3), dtype=np.uint8)).convert(mode)
    for _ in range(50):
        angle, right, down, shear = rng.uniform(-40, 40, 4).tolist()
        enlarge = rng.uniform(0.5, 2)
        expected = functional().affine(photo, angle, [right, down], enlarge, [shear, 0.0], interpolation=BICUBIC)
        step = about_the_centre(photo.size, angle, (right, down), enlarge, shear)
        found = warped(picture_sample(photo, "photo"), step, BICUBIC)
        assert found.inputs["image"].tobytes() == expected.tobytes()
