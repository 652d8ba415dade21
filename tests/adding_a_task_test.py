"""docs/adding_a_task.md: its task and its recipe, as they stand there, train, measure, answer and leave a report."""

import json
import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

from muntin.cli.main import main
from muntin.recipes import index as recipes
from muntin.tasks import index as tasks

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "adding_a_task.md"
SMALL = ["--limit", "60", "--epochs", "1", "--batch-size", "20"]
SMALL += ["--warmup-epochs", "0", "--workers", "0", "--threads", "1"]


def block(heading: str) -> str:
    """The first Python block below a heading of the page."""
    section = PAGE.read_text(encoding="utf-8").partition(f"## {heading}")[2]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found, heading
    return found[1]


@pytest.fixture
def house(monkeypatch):
    """The house with the page's two files and their two lines."""
    for name, heading in (("tasks", "The task"), ("recipes", "The recipe")):
        module = types.ModuleType(f"muntin.{name}.rotation")
        module.__package__ = f"muntin.{name}"
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(block(heading), f"{PAGE.name}: {heading}", "exec"), module.__dict__)
    rotation = sys.modules["muntin.tasks.rotation"]
    monkeypatch.setitem(tasks.CHOICES, "rotation", rotation.RotationChoice)
    monkeypatch.setitem(recipes.RECIPES, "rotation_digits", sys.modules["muntin.recipes.rotation"].rotation_digits)
    return rotation


def test_files_and_lines_in_a_copy_of_the_house_are_all_that_a_new_process_needs(tmp_path):
    package = tmp_path / "muntin"
    shutil.copytree(ROOT / "src" / "muntin", package, ignore=shutil.ignore_patterns("*_test.py", "__pycache__"))
    (package / "tasks/rotation.py").write_text(block("The task"), encoding="utf-8")
    (package / "recipes/rotation.py").write_text(block("The recipe"), encoding="utf-8")
    changes = {
        "tasks/index.py": (
            ("from .simmim import", "from .rotation import RotationChoice\nfrom .simmim import"),
            ("DistillationChoice, SimMIMChoice)", "DistillationChoice, RotationChoice, SimMIMChoice)"),
        ),
        "recipes/index.py": (
            ("from .recipe import", "from . import rotation\nfrom .recipe import"),
            ("        digits.digits,\n", "        digits.digits,\n        rotation.rotation_digits,\n"),
        ),
    }
    page = PAGE.read_text(encoding="utf-8")
    for name, pairs in changes.items():
        text = (package / name).read_text(encoding="utf-8")
        for old, new in pairs:
            assert text.count(old) == 1
            text = text.replace(old, new)
        assert all(line.strip() in page for line in text.splitlines() if "otation" in line)
        (package / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "muntin", "train", "rotation_digits", *SMALL, "--out", str(tmp_path / "run")]
    ran = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert json.loads((tmp_path / "run/summary.json").read_text())["task"] == "rotation"


def test_every_verb_knows_the_new_task(house, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", "rotation_digits", *SMALL, "--out", str(run)]) == 0
    assert "next: muntin predict" in capsys.readouterr().out
    summary = json.loads((run / "summary.json").read_text())
    assert summary["task"] == "rotation"
    assert 0 <= summary["top1"] <= 1
    report = (run / "report.html").read_text()
    assert "Confusion" in report
    assert "270 degrees" in report

    assert main(["train", "rotation_digits", *SMALL, "--out", str(run), "--resume"]) == 0
    capsys.readouterr()
    assert main(["eval", str(run), "--data", "digits", "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert measured["samples"] == 1000
    assert set(measured["per_class"]) == set(house.TURNS)
    assert main(["predict", str(run), "digits", "--csv", str(tmp_path / "answers.csv")]) == 0
    assert (tmp_path / "answers.csv").read_text().splitlines()[1].split(",")[1] in house.TURNS


def test_its_mistakes_are_one_sentence(house, tmp_path, capsys):
    assert main(["train", "rotation_digits", *SMALL, "--image-size", "32", "24", "--out", str(tmp_path / "run")]) == 2
    assert "pictures that are turned must be square" in capsys.readouterr().err
    assert main(["train", "rotation_digits", *SMALL, "--mask-patch", "8", "--out", str(tmp_path / "run")]) == 2
    assert "--mask-patch" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
