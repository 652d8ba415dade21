"""From a file to an upright picture of a known mode."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from muntin.data.decoding.orientation import upright
from muntin.data.decoding.quiet import without_pillow_warnings
from muntin.errors import UserError

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM")  # Pillow's other readers see less use and less care
PIXEL_LIMIT = 2**27  # decoded as RGB this is 0.4 GB; a small file that claims more is an attack or belongs into tiles
FILE_LIMIT = 2**30  # bytes; what PIXEL_LIMIT needs uncompressed, at 8 bytes a pixel
METADATA_LIMIT = 2**24  # bytes read before the first pixel: EXIF, ICC profile, texts, thumbnails


def open_picture(path: str | os.PathLike[str]) -> Image.Image:
    """`decode_picture` of a file. Also raises `UserError` where there is no such file, or it cannot be opened."""
    name = os.fspath(path)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would wait for ever
            raise UserError(f"{name} is a folder or a device, not a picture")
        with Path(path).open("rb") as file:
            return decode_picture(file, name)
    except FileNotFoundError:
        raise UserError(f"{name}: there is no such file") from None
    except OSError as error:
        raise UserError(f"{name} cannot be opened ({error.strerror or error})") from None
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{name!r} is no path ({error})") from None


def decode_picture(file: BinaryIO, name: str) -> Image.Image:
    """Decode one picture, turned upright by its EXIF orientation; its mode stays as it is.

    The content decides the format, never the name. Of an animation, or of several pages, the first picture is taken.
    Limits are checked against what the file declares, before anything of that size is allocated.

    Raises `UserError` with `name` and the reason where the file is no picture of `FORMATS`, is damaged or empty, or
    exceeds `PIXEL_LIMIT`, `FILE_LIMIT` or `METADATA_LIMIT`.
    """
    bytes_ = file.seek(0, os.SEEK_END)
    if not bytes_:
        raise UserError(f"{name} is not a picture that can be read (it is empty, 0 bytes); remove or replace the file")
    if bytes_ > FILE_LIMIT:
        raise UserError(f"{name} has {bytes_:,} bytes, more than the {FILE_LIMIT:,} allowed: cut it into tiles")
    try:
        with without_pillow_warnings():
            return _decode(_Metered(file, bytes_, name), name)
    except UserError:
        raise
    except UnidentifiedImageError:
        reason = f"it is none of {', '.join(FORMATS)}, or its header is damaged"
    except Image.DecompressionBombError as error:
        raise UserError(f"{name}: {str(error).rstrip('.')}; cut it into tiles") from None
    except Exception as error:  # Pillow's decoders answer damaged files with a dozen types of exception
        if "MAX_TEXT" in str(error):
            raise _too_much_metadata(name) from None
        reason = f"{error or type(error).__name__}"
    raise UserError(f"{name} is not a picture that can be read ({reason}); remove or replace the file")


def _decode(file: _Metered, name: str) -> Image.Image:
    with Image.open(file, formats=FORMATS) as image:  # type: ignore[arg-type]
        width, height = image.size
        if width * height > PIXEL_LIMIT:
            raise UserError(
                f"{name} has {width} x {height} pixels, more than the {PIXEL_LIMIT:,} allowed: cut it into tiles"
            )
        tiles = len(getattr(image, "tile", ()))
        file.allowance = METADATA_LIMIT + file.bytes + 2**16 * tiles  # Pillow reads ahead by 64 kB in each strip
        return upright(image)


class _Metered:
    """A file that can be read only so far, and in pieces no larger than what it has left.

    JPEG segments, PNG chunks and TIFF tags may be many, overlap, and claim any length.
    """

    def __init__(self, file: BinaryIO, bytes_: int, name: str):
        self.file, self.bytes, self.name = file, bytes_, name
        self.allowance = METADATA_LIMIT
        self.seek, self.tell = file.seek, file.tell
        file.seek(0)
        if file.read(4) == b"RIFF":
            self.allowance += bytes_  # WebP's decoder takes the whole file before it tells the size

    def read(self, size: int = -1) -> bytes:
        left = max(self.bytes - self.file.tell(), 0)
        size = left if size < 0 else min(size, left)
        self.allowance -= size
        if self.allowance < 0:
            raise _too_much_metadata(self.name)
        return self.file.read(size)


def _too_much_metadata(name: str) -> UserError:
    return UserError(
        f"{name} has more metadata (EXIF, ICC profile, texts) than the {METADATA_LIMIT:,} bytes allowed, or "
        "it is packed to grow; save the picture without it"
    )


def as_mode(image: Image.Image, mode: str) -> Image.Image:
    """Any picture as 8-bit "L" or "RGB".

    16-bit grey is divided by 257, not clipped as Pillow would; transparent pixels are laid on white, as a viewer
    shows them; palettes, CMYK, YCbCr and bitmaps are converted by Pillow. Raises `UserError` for floating-point and
    other pictures without a fixed range.
    """
    if image.mode == mode and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    try:
        if image.mode == "F":
            raise ValueError("floating point has no fixed range")
        return image.convert(mode)
    except ValueError as error:
        raise UserError(
            f"a picture of mode {image.mode} cannot become {mode} ({error}); save it with 8 or 16 bits a channel"
        ) from None


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey pictures of Pillow's integer modes ("I", "I;16", ...), whose files have 16 bits, as "L"."""
    pixels = np.asarray(image).astype(np.int64)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise UserError("a 32-bit picture has no fixed range; save it with 8 or 16 bits a channel")
    return Image.fromarray(((pixels + 128) // 257).astype(np.uint8))
