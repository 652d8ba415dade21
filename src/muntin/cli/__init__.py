"""The command line. Importing it imports neither torch nor any optional package."""

from .main import main as main

__all__ = ["main"]
