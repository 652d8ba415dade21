"""Where in the original file a model's input came from."""

from __future__ import annotations

from dataclasses import dataclass

Affine = tuple[float, float, float, float, float, float]
"""(a, b, c, d, e, f) maps (x, y) to (a x + b y + c, d x + e y + f): Pillow's order. x counts columns, y rows, both from
the upper left corner of the picture; pixel i reaches from i to i + 1, so its centre lies at i + 0.5."""

UNMOVED: Affine = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Place:
    """The size of the original and the map from an input's coordinates back to the original's.

    Every geometric transform composes the map, so that an answer in the input's coordinates can be drawn on the
    original. The original is the upright picture: EXIF orientation is applied when a file is decoded.

    This is no tuple, because code that moves a batch to a device looks into its tuples, and would look into each place.
    """

    size: tuple[int, int]  # height, width, pixels
    to_original: Affine = UNMOVED

    def then(self, step: Affine) -> Place:
        """The place after one more transform; `step` maps the new input's coordinates to the present one's."""
        return Place(self.size, compose(self.to_original, step))


def compose(last: Affine, first: Affine) -> Affine:
    """The map that does `first` and then `last`."""
    a, b, c, d, e, f = first
    (xx, xy), (yx, yy) = last[0:2], last[3:5]
    x, y = apply(last, c, f)
    return xx * a + xy * d, xx * b + xy * e, x, yx * a + yy * d, yx * b + yy * e, y


def invert(step: Affine) -> Affine:
    """The map back: `compose(step, invert(step))` moves nothing. Raises `ZeroDivisionError` for a map onto a line."""
    a, b, c, d, e, f = step
    area = a * e - b * d
    return e / area, -b / area, (b * f - c * e) / area, -d / area, a / area, (c * d - a * f) / area


def apply(step: Affine, x: float, y: float) -> tuple[float, float]:
    """Where `step` maps the point (x, y)."""
    a, b, c, d, e, f = step
    return a * x + b * y + c, d * x + e * y + f
