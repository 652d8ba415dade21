import numpy as np
import pytest
from PIL import Image

from muntin.data import picture
from muntin.data.picture import as_mode, open_picture
from muntin.errors import UserError


def test_a_file_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "notes.jpg").write_text("not a picture")
    with pytest.raises(UserError, match=r"notes\.jpg is not a picture that can be read"):
        open_picture(tmp_path / "notes.jpg")


def test_a_truncated_picture_is_named(tmp_path):
    path = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"cut\.png is not a picture that can be read"):
        open_picture(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.png: there is no such file"):
        open_picture(tmp_path / "gone.png")


def test_a_decompression_bomb_is_refused_before_decoding(tmp_path, monkeypatch):
    Image.new("L", (40, 30)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(picture, "PIXEL_LIMIT", 1199)
    with pytest.raises(UserError, match=r"bomb\.png has 40 x 30 pixels, more than the 1,199 allowed"):
        open_picture(tmp_path / "bomb.png")


def test_pillows_own_bomb_error_becomes_a_sentence(tmp_path, monkeypatch):
    Image.new("L", (40, 30)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(UserError, match=r"bomb\.png: .*cut it into tiles"):
        open_picture(tmp_path / "bomb.png")


def test_a_photo_is_turned_upright(tmp_path):
    lying = Image.new("RGB", (40, 20), "black")
    lying.paste((255, 255, 255), (0, 0, 20, 20))  # left half white
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    lying.save(tmp_path / "photo.png", exif=exif)
    image = open_picture(tmp_path / "photo.png")
    assert image.size == (20, 40)
    assert image.getpixel((10, 5)) == (255, 255, 255)
    assert image.getpixel((10, 35)) == (0, 0, 0)
    assert picture.upright(image).size == (20, 40)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    values = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    grey = as_mode(open_picture(tmp_path / "deep.png"), "L")
    assert np.asarray(grey).tolist() == [[0, 1, 128, 255]]
    assert as_mode(Image.fromarray(values.astype(np.int32)), "RGB").getpixel((2, 0)) == (128, 128, 128)


def test_pictures_without_a_fixed_range_are_refused():
    with pytest.raises(UserError, match="floating point has no fixed range"):
        as_mode(Image.new("F", (2, 2)), "RGB")
    with pytest.raises(UserError, match="32-bit picture has no fixed range"):
        as_mode(Image.new("I", (2, 2), 70000), "L")


def test_transparent_pixels_become_white():
    clear = Image.new("RGBA", (1, 1), (255, 0, 0, 0))
    half = Image.new("LA", (1, 1), (0, 128))
    assert as_mode(clear, "RGB").getpixel((0, 0)) == (255, 255, 255)
    assert as_mode(half, "L").getpixel((0, 0)) == 127


def test_palette_with_a_transparent_colour(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 0])
    image.putdata([0, 1])
    image.save(tmp_path / "p.png", transparency=0)
    read = as_mode(open_picture(tmp_path / "p.png"), "RGB")
    assert [read.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (200, 100, 0)]


def test_cmyk_and_bitmaps_are_converted():
    assert as_mode(Image.new("CMYK", (1, 1), (255, 0, 0, 0)), "RGB").getpixel((0, 0)) == (0, 255, 255)
    assert as_mode(Image.new("1", (1, 1), 1), "L").getpixel((0, 0)) == 255
