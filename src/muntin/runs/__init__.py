"""What happens with a recipe: it is checked, resolved, built, trained, measured and reported."""

from .run import check as check
from .run import run as run
from .tiny import tiny as tiny

__all__ = ["check", "run", "tiny"]
