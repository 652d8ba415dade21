"""From a file to an upright picture of a known mode."""

from __future__ import annotations

import os

import numpy as np
from PIL import Image, ImageOps

from muntin.errors import UserError

# Decoded as RGB this is 0.4 GB; a small file that claims more is an attack or belongs into tiles.
PIXEL_LIMIT = 2**27


def open_picture(path: str | os.PathLike[str]) -> Image.Image:
    """Decode one file, turned upright by its EXIF orientation; its mode stays as it is.

    Raises `UserError` naming the file when it is missing, no picture, damaged, or above `PIXEL_LIMIT` pixels.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            if width * height <= PIXEL_LIMIT:
                return upright(image)
    except FileNotFoundError:
        raise UserError(f"{os.fspath(path)}: there is no such file") from None
    except Image.DecompressionBombError as error:
        raise UserError(f"{os.fspath(path)}: {error}; cut it into tiles") from None
    except Exception as error:  # Pillow's decoders answer damaged files with a dozen types of exception
        raise UserError(
            f"{os.fspath(path)} is not a picture that can be read ({error or type(error).__name__}); "
            "remove or replace the file"
        ) from error
    raise UserError(
        f"{os.fspath(path)} has {width} x {height} pixels, more than the {PIXEL_LIMIT:,} allowed: cut it into tiles"
    )


def upright(image: Image.Image) -> Image.Image:
    """The decoded picture, turned as its EXIF orientation says; turning twice changes nothing."""
    image.load()
    return ImageOps.exif_transpose(image) if image.getexif() else image


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
