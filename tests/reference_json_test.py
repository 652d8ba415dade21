"""Agreement with the original code on recorded lists: as reference_test.py, for .json files of the same folder.

Names and shapes are for shapes_test.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from .reference.case import folder
from .reference.convnext import check_parameter_groups
from .reference.training import check_inclusive_schedules, check_repeats


def lists() -> list:
    """Every file that has a check, with it, as a pytest parameter with the id <system>/<name>."""
    found = [(path, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(folder().glob("*/*.json"))]
    return [
        pytest.param(check, recorded, id=f"{path.parent.name}/{path.stem}-{check.__name__}")
        for path, recorded in found
        for check in checks_of(recorded)
    ]


def checks_of(recorded: Any) -> list[Callable[[dict[str, Any]], None]]:
    """The checks for what a file holds; none for files that other tests read."""
    checks: list[Callable[[dict[str, Any]], None]] = []
    if "cosine_schedule" in recorded:
        checks += [check_schedules, check_parameter_groups]
    if "cases" in recorded and any("num_repeats" in case for case in recorded["cases"]):
        checks.append(check_repeats)
    return checks


def check_schedules(recorded: dict[str, Any]) -> None:
    check_inclusive_schedules(recorded["cosine_schedule"])


@pytest.mark.reference
@pytest.mark.parametrize(("check", "recorded"), lists())
def test_agrees_with_the_original(check: Callable[[dict[str, Any]], None], recorded: dict[str, Any]):
    check(recorded)
