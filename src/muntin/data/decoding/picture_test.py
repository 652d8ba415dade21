import contextlib
import io
import struct
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from muntin.data.decoding import picture
from muntin.data.decoding.picture import as_mode, decode_picture, open_picture
from muntin.errors import UserError

NOISE = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)


def encoded(format_: str, image: Image.Image | None = None, **options) -> bytes:
    """A picture of noise, or the given one, as the bytes of a file."""
    file = io.BytesIO()
    (image or Image.fromarray(NOISE)).save(file, format_, **options)
    return file.getvalue()


def read(data: bytes) -> Image.Image:
    return decode_picture(io.BytesIO(data), "x")


def png_with(*chunks: tuple[bytes, bytes], size: tuple[int, int] = (2, 2), pixels: bytes | None = None) -> bytes:
    """A grey PNG with further chunks before its pixels."""
    rows = zlib.compress(bytes((size[0] + 1) * size[1]) if pixels is None else pixels)
    header = struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


# ---- what cannot be read


def test_text_named_as_a_picture_is_refused(tmp_path):
    (tmp_path / "notes.jpg").write_text("not a picture")
    with pytest.raises(UserError, match=r"notes\.jpg is not a picture that can be read \(it is none of JPEG, PNG"):
        open_picture(tmp_path / "notes.jpg")


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(UserError, match=r"empty\.jpg is not a picture that can be read \(it is empty, 0 bytes\)"):
        open_picture(tmp_path / "empty.jpg")


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.95])
def test_a_truncated_picture_is_refused(format_, share):
    data = encoded(format_)
    with pytest.raises(UserError, match="x is not a picture that can be read"):
        read(data[: int(share * len(data))])


def test_a_missing_file_a_folder_and_what_is_no_path(tmp_path):
    with pytest.raises(UserError, match=r"gone\.png: there is no such file"):
        open_picture(tmp_path / "gone.png")
    with pytest.raises(UserError, match="is a folder or a device, not a picture"):
        open_picture(tmp_path)
    with pytest.raises(UserError, match="is no path"):
        open_picture("a\0b.png")
    with pytest.raises(UserError, match="cannot be opened"):
        open_picture("a" * 5000 + ".png")


def test_formats_that_are_not_on_the_list_are_refused():
    with pytest.raises(UserError, match="it is none of JPEG"):
        read(encoded("ICO", Image.new("RGB", (16, 16))))


# ---- limits


def test_a_small_file_of_many_pixels_is_refused_before_decoding():
    bomb = png_with(size=(13_000, 13_000), pixels=bytes(13_001 * 1_500))
    assert len(bomb) < 25_000
    with pytest.raises(UserError, match="x has 13000 x 13000 pixels, more than the 134,217,728 allowed"):
        read(bomb)


def test_pillows_own_bomb_error_becomes_a_sentence(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(UserError, match=r"x: .*cut it into tiles"):
        read(encoded("PNG"))


def test_a_huge_file_is_refused(monkeypatch):
    monkeypatch.setattr(picture, "FILE_LIMIT", 100)
    with pytest.raises(UserError, match="bytes, more than the 100 allowed"):
        read(encoded("PNG"))


def test_metadata_beyond_the_limit_is_refused_in_every_format(monkeypatch):
    block = bytes(60_000)
    monkeypatch.setattr(picture, "METADATA_LIMIT", 400_000)
    exif, icc = b"Exif\0\0" + block, 8 * block
    jpeg = encoded("JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    for data in (
        jpeg[:2] + 8 * segment + jpeg[2:],
        encoded("JPEG", icc_profile=icc),
        png_with((b"eXIf", 8 * block)),
        encoded("TIFF", icc_profile=icc),
    ):
        with pytest.raises(UserError, match=r"x has more metadata .* than the 400,000 bytes allowed"):
            read(data)
    assert read(jpeg[:2] + segment + jpeg[2:]).size == (48, 64)


def test_metadata_packed_to_grow_is_refused():
    profile = b"icc\0\0" + zlib.compress(bytes(50_000_000))
    with pytest.raises(UserError, match="packed to grow"):
        read(png_with((b"iCCP", profile)))
    text = b"key\0\0" + zlib.compress(bytes(50_000_000))
    with pytest.raises(UserError, match="packed to grow"):
        read(png_with((b"zTXt", text)))


def test_tiff_tags_that_share_their_bytes_cannot_multiply_them(monkeypatch):
    monkeypatch.setattr(picture, "METADATA_LIMIT", 1_000_000)
    block = 100_000  # bytes; each of 1,000 tags claims the same ones, 100 MB in all
    tags = [struct.pack("<HHII", *tag) for tag in [(256, 4, 1, 1), (257, 4, 1, 1), (258, 3, 1, 8), (273, 4, 1, 8)]]
    tags += [struct.pack("<HHII", 1000 + n, 1, block, 8) for n in range(1_000)]
    data = b"II*\0" + struct.pack("<I", 8 + block) + bytes(block) + struct.pack("<H", len(tags)) + b"".join(tags)
    tracemalloc.start()
    with contextlib.suppress(UserError):  # newer releases of Pillow leave out what is too much
        read(data + bytes(4))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3_000_000


# ---- orientation


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_photo_is_turned_upright(format_):
    lying = Image.new("RGB", (48, 24), "black")
    lying.paste((255, 255, 255), (0, 0, 24, 24))  # left half white
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    image = read(encoded(format_, lying, exif=exif))
    assert image.size == (24, 48)
    assert min(image.getpixel((10, 5))) > 240
    assert max(image.getpixel((10, 40))) < 15
    assert picture.upright(image).size == (24, 48)


@pytest.mark.parametrize("value", range(1, 9))
def test_every_orientation_is_turned_as_pillow_would(value):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = value
    data = encoded("PNG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(np.asarray(read(data)), np.asarray(expected))


def test_orientation_is_found_wherever_it_stands():
    exif = Image.Exif()
    exif[0x0112] = 6
    big_endian = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 8, 0, 0)
    hexadecimal = PngImagePlugin.PngInfo()
    hexadecimal.add_text("Raw profile type exif", f"\nexif\n{len(exif.tobytes()):8}\n{exif.tobytes().hex()}\n")
    for data in (
        encoded("PNG", pnginfo=hexadecimal),
        encoded("JPEG", exif=b"Exif\0\0" + big_endian),
        encoded("JPEG", xmp=b'<x tiff:Orientation="5"/>'),
    ):
        assert read(data).size == (64, 48)


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"II",
        b"nonsense",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0" + struct.pack("<IHHHII", 8, 65535, 0x9999, 2, 2**32 - 1, 0),
        b"II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, 3, 1, 77),
    ],
)
def test_a_broken_exif_block_leaves_a_good_picture(block):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for format_ in ("JPEG", "PNG", "WEBP"):
            assert read(encoded(format_, exif=b"Exif\0\0" + block)).size == (48, 64)


def test_texts_of_a_png_that_only_sound_like_metadata_are_left_alone():
    texts = PngImagePlugin.PngInfo()
    for key in ("xmp", "Raw profile type exif"):
        texts.add_text(key, "nothing")
        assert read(encoded("PNG", pnginfo=texts)).size == (48, 64)
    texts.add_text("exif", "nothing")
    assert read(encoded("PNG", pnginfo=texts)).size == (48, 64)


# ---- what is read, and how


def test_content_decides_not_the_name(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(encoded("PNG"))
    assert np.array_equal(np.asarray(open_picture(tmp_path / "photo.jpg")), NOISE)


def test_of_an_animation_the_first_picture_is_read():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "green", "blue")]
    for format_ in ("GIF", "WEBP", "PNG", "TIFF"):
        options = {"lossless": True} if format_ == "WEBP" else {}
        data = encoded(format_, frames[0], save_all=True, append_images=frames[1:], **options)
        assert as_mode(read(data), "RGB").getpixel((1, 1)) == (255, 0, 0)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_one_pixel_is_a_picture(format_):
    assert as_mode(read(encoded(format_, Image.new("RGB", (1, 1), "white"))), "RGB").getpixel((0, 0)) == (255,) * 3


def test_no_pixel_is_no_picture():
    with pytest.raises(UserError, match="x is not a picture that can be read"):
        read(encoded("GIF").replace(struct.pack("<HH", 48, 64), struct.pack("<HH", 0, 64)))


def test_sixteen_bits_are_scaled_not_clipped():
    values = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    for format_ in ("PNG", "TIFF"):
        grey = as_mode(read(encoded(format_, Image.fromarray(values))), "L")
        assert np.asarray(grey).tolist() == [[0, 1, 128, 255]]
    assert as_mode(Image.fromarray(values.astype(np.int32)), "RGB").getpixel((2, 0)) == (128, 128, 128)


def test_sixteen_bits_a_colour_are_read():
    row = b"\0" + struct.pack(">HHH", 65535, 128 * 257, 0)
    data = png_with(size=(1, 1), pixels=row).replace(
        struct.pack(">BBBBB", 8, 0, 0, 0, 0), struct.pack(">BBBBB", 16, 2, 0, 0, 0)
    )
    header = data.index(b"IHDR")
    data = data[: header + 17] + struct.pack(">I", zlib.crc32(data[header : header + 17])) + data[header + 21 :]
    assert as_mode(read(data), "RGB").getpixel((0, 0)) == (255, 128, 0)


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


@pytest.mark.parametrize(("transparency", "second"), [(0, (200, 100, 0)), (bytes([0, 128]), (227, 177, 127))])
def test_palette_with_transparent_colours(transparency, second):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 0])
    image.putdata([0, 1])
    seen = as_mode(read(encoded("PNG", image, transparency=transparency)), "RGB")
    assert [seen.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), second]


def test_cmyk_and_bitmaps_are_converted():
    assert as_mode(Image.new("CMYK", (1, 1), (255, 0, 0, 0)), "RGB").getpixel((0, 0)) == (0, 255, 255)
    assert as_mode(Image.new("1", (1, 1), 1), "L").getpixel((0, 0)) == 255


def test_the_inverted_cmyk_of_adobe_is_turned_back():
    data = encoded("JPEG", Image.new("CMYK", (16, 16), (255, 0, 0, 0)), quality=100)
    assert b"Adobe" in data  # whose programs write 255 for no ink
    assert np.allclose(as_mode(read(data), "RGB").getpixel((8, 8)), (0, 255, 255), atol=2)
    plain = encoded("TIFF", Image.new("CMYK", (2, 2), (0, 255, 255, 0)))
    assert as_mode(read(plain), "RGB").getpixel((1, 1)) == (255, 0, 0)


# ---- the user's own settings


def test_no_warning_reaches_the_user_and_pillows_settings_stay(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)  # below 48 x 64: Pillow warns
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, PngImagePlugin.MAX_TEXT_CHUNK)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filters = list(warnings.filters)
        assert read(encoded("PNG")).size == (48, 64)
        assert warnings.filters == filters
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, PngImagePlugin.MAX_TEXT_CHUNK)
