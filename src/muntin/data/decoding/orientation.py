"""How a camera was held: the only metadata of a picture that changes its pixels."""

from __future__ import annotations

import struct

from PIL import Image

TAG = 0x0112
TURNS = {  # EXIF 2.3, tag Orientation -> what makes the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
BLOCKS = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")  # Pillow's names of where it may stand


def upright(image: Image.Image) -> Image.Image:
    """Decode the picture and turn it as its EXIF orientation says. Turning twice changes nothing."""
    image.load()
    turn = TURNS.get(orientation(image))
    if turn is None:
        return image
    turned = image.transpose(turn)
    for block in BLOCKS:  # what would turn it again
        turned.info.pop(block, None)
    return turned


def orientation(image: Image.Image) -> int:
    """Returns 1 to 8 as in EXIF; 1 (upright) if the file does not say, or if its EXIF block is broken.

    Pillow's own reader follows every tag of every directory of an EXIF block, and raises where one is broken. This one
    searches the first directory for one tag. Pillow turns TIFF files while it decodes them.
    """
    found = 1
    if isinstance(exif := image.info.get("exif"), bytes):
        found = _from_exif(exif.removeprefix(b"Exif\0\0"))
    elif isinstance(text := image.info.get("Raw profile type exif"), str):  # ImageMagick's way to put it into a PNG
        found = _from_hex(text)
    elif "exif" not in image.info and not hasattr(image, "tag_v2"):
        found = _from_pillow(image)
    return found if found in TURNS else 1


def _from_exif(block: bytes) -> int:
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", block, entry)
            if tag == TAG:
                return struct.unpack_from(order + ("H" if kind == 3 else "I"), block, entry + 8)[0]
    except struct.error:  # it points outside of itself
        pass
    return 1


def _from_hex(text: str) -> int:
    """Three lines, of which the last is the length, then the block in hexadecimal digits."""
    try:
        return _from_exif(bytes.fromhex("".join(text.split("\n")[3:])).removeprefix(b"Exif\0\0"))
    except ValueError:
        return 1


def _from_pillow(image: Image.Image) -> int:
    """What XMP says, or what a program has set. The picture has no EXIF block."""
    try:
        return image.getexif().get(TAG, 1)
    except TypeError:  # a PNG has a text of that name, which is not XMP
        return 1
