"""One self-contained html page about a run: curves, pictures, and a look inside the model."""

from . import inside_the_model as lens
from . import pictures as pictures
from . import sections as sections
from .page import Page as Page
from .page import Tile as Tile

__all__ = ["Page", "Tile", "lens", "pictures", "sections"]
