"""Agreement with the original code on recorded lists: as reference_test.py, for .json files of the same folder.

Files of shapes, names and parameter groups are for the tests of their models.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from .reference_case import folder
from .reference_training import check_inclusive_schedules, check_repeats


def lists() -> list:
    """Every file that has a check, with it, as a pytest parameter with the id <system>/<name>."""
    found = [(path, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(folder().glob("*/*.json"))]
    return [
        pytest.param(check, recorded, id=f"{path.parent.name}/{path.stem}")
        for path, recorded in found
        if (check := check_of(recorded))
    ]


def check_of(recorded: Any) -> Callable[[dict[str, Any]], None] | None:
    """The check for what a file holds; None where there is none."""
    if "cosine_schedule" in recorded:
        return lambda recorded: check_inclusive_schedules(recorded["cosine_schedule"])
    if "cases" in recorded and any("num_repeats" in case for case in recorded["cases"]):
        return check_repeats
    return None


@pytest.mark.reference
@pytest.mark.parametrize(("check", "recorded"), lists())
def test_agrees_with_the_original(check: Callable[[dict[str, Any]], None], recorded: dict[str, Any]):
    check(recorded)
