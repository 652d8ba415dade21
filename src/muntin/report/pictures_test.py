import base64
import io

from PIL import Image

from muntin.report import pictures


def decode(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))


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
