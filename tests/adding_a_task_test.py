"""docs/adding_a_task.md: its task and its recipe, as they stand there, train, measure, answer and leave a report."""

import json
import re
import sys
import types
from pathlib import Path

import pytest

from muntin.cli.main import main
from muntin.recipes import index as recipes
from muntin.tasks import index as tasks

PAGE = Path(__file__).parents[1] / "docs" / "adding_a_task.md"
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
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(block(heading), f"{PAGE.name}: {heading}", "exec"), module.__dict__)
    rotation = sys.modules["muntin.tasks.rotation"]
    monkeypatch.setitem(tasks.CHOICES, "rotation", rotation.RotationChoice)
    monkeypatch.setitem(recipes.RECIPES, "rotation_digits", sys.modules["muntin.recipes.rotation"].rotation_digits)
    return rotation


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
