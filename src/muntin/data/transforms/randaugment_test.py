import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from muntin.data import picture_sample
from muntin.data.transforms import randaugment
from muntin.data.transforms.randaugment import OPERATIONS, RandAugment, apply

FILL, BICUBIC = (124, 116, 104), Image.Resampling.BICUBIC


def _photo():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((33, 25))


def _by_hand(image, name, m, sign):
    """The recipe's text (specs section 2), in Pillow alone. m: 0 to 10."""
    keep = 4 - int(4 * m / 10)
    factor = 1 + sign * 0.9 * m / 10

    def warp(*matrix):
        return image.transform(image.size, Image.Transform.AFFINE, matrix, BICUBIC, fillcolor=FILL)

    pixels = np.asarray(image).astype(int)
    bright = np.where(pixels < 128, np.minimum(255, pixels + int(110 * m / 10)), pixels)
    solarised = np.where(pixels < 256 - int(256 * m / 10), pixels, 255 - pixels)
    return {
        "AutoContrast": lambda: ImageOps.autocontrast(image),
        "Equalize": lambda: ImageOps.equalize(image),
        "Invert": lambda: Image.fromarray((255 - pixels).astype(np.uint8)),
        "Rotate": lambda: image.rotate(sign * 30 * m / 10, BICUBIC, fillcolor=FILL),
        "Posterize": lambda: Image.fromarray((pixels >> (8 - keep) << (8 - keep)).astype(np.uint8)),
        "Solarize": lambda: Image.fromarray(solarised.astype(np.uint8)),
        "SolarizeAdd": lambda: Image.fromarray(bright.astype(np.uint8)),
        "Color": lambda: ImageEnhance.Color(image).enhance(factor),
        "Contrast": lambda: ImageEnhance.Contrast(image).enhance(factor),
        "Brightness": lambda: ImageEnhance.Brightness(image).enhance(factor),
        "Sharpness": lambda: ImageEnhance.Sharpness(image).enhance(factor),
        "ShearX": lambda: warp(1, sign * 0.3 * m / 10, 0, 0, 1, 0),
        "ShearY": lambda: warp(1, 0, 0, sign * 0.3 * m / 10, 1, 0),
        "TranslateX": lambda: warp(1, 0, sign * 0.45 * m / 10 * image.width, 0, 1, 0),
        "TranslateY": lambda: warp(1, 0, 0, 0, 1, sign * 0.45 * m / 10 * image.height),
    }[name]()


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize(("magnitude", "sign"), [(0, 1), (3.3, 1), (9, -1), (9, 1), (10, -1)])
def test_each_operation_is_the_recipes(name, magnitude, sign):
    image = _photo()
    got = apply(picture_sample(image, "photo"), name, magnitude / 10, sign, FILL, BICUBIC).inputs["image"]
    assert got.tobytes() == _by_hand(image, name, magnitude, sign).tobytes()


@pytest.mark.parametrize("name", OPERATIONS)
def test_grey_pictures_stay_grey(name):
    sample = picture_sample(_photo().convert("L"), "photo")
    assert apply(sample, name, 1.0, 1, 124, BICUBIC).inputs["image"].mode == "L"


def test_operations_are_drawn_as_the_recipe_says(monkeypatch):
    calls = []
    monkeypatch.setattr(randaugment, "apply", lambda sample, name, level, sign, *_: calls.append((name, level, sign)))
    change = RandAugment(9, 0.5, 2, (0.485, 0.456, 0.406), BICUBIC)
    rng = np.random.default_rng(0)
    for _ in range(3000):
        change(None, rng)
    names, levels, signs = zip(*calls)
    assert change.fill == FILL
    assert abs(len(calls) - 3000) < 150  # two draws, each applied with probability 0.5
    counts = np.array([names.count(name) for name in OPERATIONS])
    assert abs(counts / len(calls) - 1 / 15).max() < 0.02
    assert abs(np.mean(levels) - 0.9) < 0.01
    assert 0.03 < np.std(levels) < 0.06
    assert max(levels) == 1.0  # clipped
    assert abs(np.mean(signs)) < 0.06
