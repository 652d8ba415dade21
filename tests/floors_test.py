"""The shape of the house: imports go only down the floors, and starting costs nothing optional."""

import ast
import difflib
import itertools
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import muntin

PACKAGE = Path(muntin.__file__).parent
FLOORS = {
    "cli": 8,
    "runs": 7,
    "recipes": 6,
    "predict": 6,
    "report": 6,
    "weights": 5,
    "catalog": 4,
    "engine": 4,
    "tasks": 3,
    "models": 2,
    "heads": 2,
    "data": 2,
    "evals": 2,
    "draw": 2,
    "formats": 2,
    "layers": 1,
    "files": 0,
    "ops": 0,
    "answers": -1,
    "errors": -1,
}
LINEAGE = {
    ("swin_v2", "swin"),
    ("vit_hybrid", "vit"),
    ("deit", "vit"),
    ("beit", "vit"),
    ("convnext_roadmap", "convnext"),
}  # a model and the one it descends from
SHARED_IN_MODELS = {"backbone", "fields"}  # the protocol of all backbones, and the check of all configs
OPTIONAL = {"torchvision", "huggingface_hub", "tensorboard", "timm", "transformers", "pytest"}

SOURCES = [f for f in sorted(PACKAGE.rglob("*.py")) if not f.name.endswith("_test.py") and f.parent != PACKAGE]


def modules_imported(file: Path) -> set[str]:
    """Full names of the muntin modules that a file imports anywhere, such as 'muntin.data.sources.files'."""
    package = file.relative_to(PACKAGE.parent).parent.parts
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            # `from muntin import catalog` names a room, `from muntin.data import Loader` a thing in one
            found |= {f"{base}.{alias.name}" for alias in node.names} if base == "muntin" else {base}
            if base.split(".")[:2] == ["muntin", "models"] and base.count(".") == 1:
                found |= {f"{base}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "muntin" and "." in name}


def room(module: str) -> str:
    return module.split(".")[1]


def name_of(file: Path) -> str:
    return str(file.relative_to(PACKAGE))


@pytest.mark.parametrize("file", SOURCES, ids=name_of)
def test_imports_only_lower_floors(file):
    here = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for module in modules_imported(file):
        there = room(module)
        assert there in FLOORS, f"{module}: which floor is '{there}' on?"
        allowed = there == here or FLOORS[there] < FLOORS[here]
        assert allowed, f"{name_of(file)} (floor {FLOORS[here]}) imports {module} (floor {FLOORS[there]})"


@pytest.mark.parametrize("file", sorted((PACKAGE / "engine").glob("*.py")), ids=name_of)
def test_the_engine_knows_the_contract_of_tasks_and_no_task(file):
    if not file.name.endswith("_test.py"):
        assert {m for m in modules_imported(file) if room(m) == "tasks"} <= {"muntin.tasks.task"}


@pytest.mark.parametrize("file", sorted((PACKAGE / "models").glob("*.py")), ids=name_of)
def test_models_import_only_the_model_they_descend_from(file):
    if file.name == "__init__.py" or file.name.endswith("_test.py"):
        return
    others = {m.split(".")[2] for m in modules_imported(file) if room(m) == "models" and m.count(".") >= 2}
    for other in others - {file.stem} - SHARED_IN_MODELS:
        assert (file.stem, other) in LINEAGE, f"models/{file.name} imports models/{other}.py"


def loaded_after(code: str) -> set[str]:
    """Top-level packages in sys.modules of a fresh Python that has run `code`."""
    show = "import sys; print('\\n' + ' '.join(sorted({m.split('.')[0] for m in sys.modules})))"
    ran = subprocess.run([sys.executable, "-c", f"{code}\n{show}"], capture_output=True, text=True, check=True)
    return set(ran.stdout.splitlines()[-1].split())


def test_importing_every_room_loads_no_optional_package():
    rooms = ", ".join(f"muntin.{room}" for room in FLOORS)
    assert not loaded_after(f"import {rooms}; muntin.list_models()") & OPTIONAL


def test_help_loads_no_torch_and_answers_within_a_second():
    assert not loaded_after("from muntin.cli import main; main(['--help'])") & {
        "torch",
        "numpy",
        "PIL",
        "tyro",
        *OPTIONAL,
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run([sys.executable, "-m", "muntin", "--help"], capture_output=True, check=True)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 1  # of work, however busy the machine is


def test_no_two_model_files_are_more_than_a_third_alike():
    """By the lines of the shorter that stand in the other in the same order, imports and blank lines aside."""
    files = {f: lines_of(f) for f in sorted((PACKAGE / "models").glob("*.py")) if not f.name.endswith("_test.py")}
    del files[PACKAGE / "models" / "__init__.py"]
    for (one, lines), (other, others) in itertools.combinations(files.items(), 2):
        same = sum(block.size for block in difflib.SequenceMatcher(None, lines, others, False).get_matching_blocks())
        assert same <= min(len(lines), len(others)) / 3, f"{one.name} and {other.name} share {same} lines"


def lines_of(file: Path) -> list[str]:
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith(("import ", "from "))]
