"""What README and docs tell a reader to type works: targets, verbs, options, links, Python."""

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

import muntin
from muntin import recipes
from muntin.cli import adapt, convert, data, doctor, eval, models, predict, train
from muntin.cli import demo as demo_verb
from muntin.cli.main import EXAMPLES, VERBS
from muntin.data import PictureInput
from muntin.weights.folder import save_model

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PARSERS = {"doctor": doctor, "models": models, "data": data, "eval": eval, "predict": predict, "demo": demo_verb}
PARSERS |= {"convert": convert, "adapt": adapt}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


COMMANDS = [
    pytest.param(line, id=f"{page.name}: {line}")
    for page in PAGES
    if page.name != "adding_a_task.md"  # there is its recipe in adding_a_task_test alone, which runs the commands
    for block in blocks(page, "bash")
    for line in block.splitlines()
    if line and not line.startswith("#")
]


def check_muntin(arguments: list[str]) -> None:
    """The verb exists, and its parser takes the rest; `train` resolves its recipe."""
    verb, *rest = arguments
    assert verb in VERBS
    if verb == "train":
        if rest and rest[0].endswith(".json"):  # of a run that a reader would have
            rest[0] = "digits"
        if rest and "--help" not in rest:
            train.resolve(rest)
    else:
        PARSERS[verb].parser().parse_args(rest)


@pytest.mark.parametrize("line", COMMANDS)
def test_command_is_real(line):
    program, *arguments = shlex.split(line, comments=True)
    if program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert all(a in targets for a in arguments if "=" not in a)
    elif program == "torchrun":
        check_muntin(arguments[arguments.index("muntin") + 1 :])
    elif program == "pip":
        extras = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
        for named in re.findall(r"\[(\w+)\]", line):
            assert named in extras
    elif program.startswith("."):
        assert "pytest" in arguments or program == ".ci/run"
    elif program == "python":
        assert (ROOT / arguments[0]).is_file()
    else:
        assert program == "muntin", f"a command this test does not know: {line}"
        if arguments:
            check_muntin(arguments)


def test_examples_of_the_help_are_real():
    for example in EXAMPLES:
        program, *arguments = shlex.split(example)
        assert program == "muntin"
        check_muntin(arguments)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)  # x[i](y) is no link in code
    for link in re.findall(r"\]\(([^)#\s]+)", prose):
        if not link.startswith("http"):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    model_example, predict_example = blocks(ROOT / "README.md", "python")
    exec(compile(model_example, "README.md", "exec"), {})
    shown = capsys.readouterr().out
    assert "swin_v2_tiny" in shown
    assert "(1, 96, 64, 64)" in shown

    monkeypatch.chdir(tmp_path)
    model = muntin.create_model("swin_v2_tiny_window8", num_classes=2, dim=8, depths=(1,), heads=(1,))
    preprocess = PictureInput(image_size=(32, 32)).to_dict()
    folder = tmp_path / "runs" / "finetune" / "model"
    save_model(folder, "swin_v2_tiny_window8", model, kind="classifier", classes=("cat", "dog"), inputs=preprocess)
    (tmp_path / "holiday").mkdir()
    for name in ("beach.jpg", "hills.png"):
        Image.new("RGB", (40, 30), "teal").save(tmp_path / "holiday" / name)
    exec(compile(predict_example, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [Path(line.split()[0]).name for line in lines] == ["beach.jpg", "hills.png"]
    assert all(line.split()[1] in ("cat", "dog") and 0.5 <= float(line.split()[2]) <= 1 for line in lines)


def test_python_of_the_recipes_page_runs(capsys):
    distilled, example = blocks(ROOT / "docs" / "recipes.md", "python")
    found: dict = {}
    exec(compile(distilled, "recipes.md", "exec"), found)
    assert set(found["losses"].terms) == {"cross_entropy", "distillation"}
    exec(compile(example, "recipes.md", "exec"), {})
    assert recipes.from_json(capsys.readouterr().out).schedule.epochs == 3


def test_readme_names_every_verb():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"`muntin {verb}" in text for verb in VERBS)
