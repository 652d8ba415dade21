import base64
import io

import pytest
import torch
from PIL import Image

from muntin.report import pictures


def decode(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))


def test_from_tensor_undoes_the_normalisation():
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.1)
    pixels = torch.randint(0, 256, (3, 5, 7), generator=torch.Generator().manual_seed(0))
    image = (pixels / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    picture = pictures.from_tensor(image, mean, std)
    assert picture.size == (7, 5)
    assert picture.getpixel((2, 1)) == tuple(pixels[:, 1, 2].tolist())


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "L"), (3, "RGB"), (6, "RGB")])
def test_any_number_of_channels_can_be_shown(channels, mode):
    assert pictures.from_tensor(torch.zeros(channels, 4, 4), [0.0] * channels, [1.0] * channels).mode == mode


def test_values_that_are_not_finite_become_black():
    assert pictures.from_tensor(torch.full((1, 1, 1), float("nan")), [0.0], [1.0]).getpixel((0, 0)) == 0


def test_small_pictures_stay_exact_and_sharp():
    picture = Image.effect_noise((32, 32), 80)
    assert decode(pictures.data_uri(picture)).tobytes() == picture.tobytes()
    assert 'class="pixels"' in pictures.img(picture, "noise")


def test_large_pictures_become_small_jpegs_and_the_given_one_is_left_alone():
    picture = Image.effect_noise((2000, 1000), 80).convert("CMYK")
    small = decode(pictures.data_uri(picture))
    assert (small.format, small.size) == ("JPEG", (256, 128))
    assert picture.size == (2000, 1000)


def test_alternative_text_is_escaped():
    assert "<script" not in pictures.img(Image.new("L", (2, 2)), '"><script>')
