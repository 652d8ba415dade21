"""From the bytes of a file to a picture, within limits."""

from muntin.data.decoding.orientation import upright as upright
from muntin.data.decoding.picture import as_mode as as_mode
from muntin.data.decoding.picture import decode_picture as decode_picture
from muntin.data.decoding.picture import open_picture as open_picture

__all__ = ["as_mode", "decode_picture", "open_picture", "upright"]
