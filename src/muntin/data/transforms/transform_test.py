"""Every geometric transform must say where its pixels came from: a marked pixel is found again in the original."""

import numpy as np
import pytest
from PIL import Image

from muntin.data import PictureInput, picture_sample
from muntin.data.sources.place import UNMOVED, apply
from muntin.data.transforms.affine import RandomAffine
from muntin.data.transforms.color import ColorJitter
from muntin.data.transforms.crop import PaddedCrop, RandomResizedCrop, ReflectedCrop
from muntin.data.transforms.flip import Flip
from muntin.data.transforms.pixels import InMode
from muntin.data.transforms.randaugment import OPERATIONS
from muntin.data.transforms.randaugment import apply as apply_operation
from muntin.data.transforms.resize import CentreCrop, Cover, Warp
from muntin.data.transforms.three_augment import three_augment
from muntin.data.transforms.transform import InOrder

BILINEAR = Image.Resampling.BILINEAR
HEIGHT, WIDTH = 60, 84
MARK = (46, 22)  # column and row of the first of 3 x 3 marked pixels
STILL = {"rotate": 0.0, "translate": 0.0, "zoom": (1.0, 1.0), "shear": 0.0}


def _affine(**changes):
    return RandomAffine(**STILL | changes, resampling=BILINEAR)


def _operations(sample, rng):
    """All of RandAugment's that move pixels, one after the other."""
    for name in ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY"):
        sign = int(rng.choice((-1, 1)))
        sample = apply_operation(sample, name, 0.3 * rng.random(), sign, (0, 0, 0), BILINEAR)
    return sample


GEOMETRY = {
    "warp, smaller": Warp((31, 50), BILINEAR),
    "warp, larger": Warp((97, 150), BILINEAR),
    "cover": Cover((40, 40), BILINEAR),
    "centre crop": CentreCrop((45, 51)),
    "centre crop beyond the border": CentreCrop((70, 90)),
    "resized crop": RandomResizedCrop((48, 40), (0.6, 1.0), (0.75, 4 / 3), BILINEAR),
    "padded crop": PaddedCrop(5),
    "reflected crop": ReflectedCrop((50, 70), 4),
    "flip": Flip(1.0),
    "rotate": _affine(rotate=25.0),
    "translate": _affine(translate=0.15),
    "zoom": _affine(zoom=(0.7, 1.3)),
    "shear": _affine(shear=15.0),
    "affine": _affine(rotate=15.0, translate=0.1, zoom=(0.9, 1.2), shear=8.0),
    "randaugment": _operations,
    "evaluation": InOrder(PictureInput(image_size=(40, 44)).fit()),
    "in order": InOrder([Cover((50, 50), BILINEAR), ReflectedCrop((50, 50), 4), Flip(0.5), _affine(rotate=20.0)]),
}


def _marked():
    """A sample with a few white pixels on black, and where their centre lies."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[MARK[1] : MARK[1] + 3, MARK[0] : MARK[0] + 3] = 255
    return picture_sample(Image.fromarray(pixels), "marked"), (MARK[0] + 1.5, MARK[1] + 1.5)


def _centre(image):
    """Of the white, in the coordinates of `Affine`."""
    white = np.asarray(image.convert("L"), np.float64)
    rows, columns = np.indices(white.shape) + 0.5
    return (columns * white).sum() / white.sum(), (rows * white).sum() / white.sum()


@pytest.mark.parametrize("name", GEOMETRY)
def test_a_marked_pixel_is_found_again_in_the_original(name):
    sample, mark = _marked()
    met = set()
    for seed in range(12):
        moved = GEOMETRY[name](sample, np.random.default_rng(seed))
        met.add(moved.place.to_original)
        assert moved.place.size == (HEIGHT, WIDTH)
        assert apply(moved.place.to_original, *_centre(moved.inputs["image"])) == pytest.approx(mark, abs=0.5)
    assert met != {UNMOVED}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_of_randaugment_tells_where_its_pixels_came_from(name):
    sample, mark = _marked()
    for sign in (-1, 1):
        moved = apply_operation(sample, name, 0.4, sign, (0, 0, 0), BILINEAR)
        found = moved.inputs["image"]
        if name in ("Invert", "Solarize", "SolarizeAdd"):  # which make the black ones white, or grey
            assert moved.place.to_original == UNMOVED
            continue
        assert apply(moved.place.to_original, *_centre(found)) == pytest.approx(mark, abs=0.5)
        assert (moved.place.to_original == UNMOVED) == (not name.startswith(("Rotate", "Shear", "Translate")))


def test_changes_of_colour_move_nothing():
    sample, _ = _marked()
    for change in (InMode("L"), ColorJitter(0.4), three_augment):
        assert change(sample, np.random.default_rng(0)).place == sample.place


def test_the_original_is_the_upright_picture():
    photo = Image.new("L", (20, 10))
    photo.getexif()[0x0112] = 6
    sample = picture_sample(photo, "photo", 3)
    assert sample.inputs["image"].size == (10, 20)
    assert (sample.target, sample.place.size, sample.place.to_original) == ({"label": 3}, (20, 10), UNMOVED)
