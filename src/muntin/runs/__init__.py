"""Runs recipes: checks, resolves, builds, trains, measures and reports."""

from .run import check as check
from .run import run as run
from .tiny import tiny as tiny

__all__ = ["check", "run", "tiny"]
