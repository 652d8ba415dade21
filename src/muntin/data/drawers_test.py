import re
from pathlib import Path

import pytest

BELOW = {  # which drawers a drawer may know
    "decoding": set(),
    "sources": {"decoding"},
    "transforms": {"decoding", "sources"},
    "loading": {"sources", "transforms"},
    "checking": {"decoding", "sources"},
}


@pytest.mark.parametrize("drawer", BELOW)
def test_a_drawer_knows_only_those_below_it(drawer):
    files = [file for file in (Path(__file__).parent / drawer).rglob("*.py") if not file.name.endswith("_test.py")]
    known = {name for file in files for name in re.findall(r"muntin\.data\.(\w+)", file.read_text())}
    assert known - {drawer} <= BELOW[drawer]
    assert files
