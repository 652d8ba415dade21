"""`muntin convert`, `muntin adapt` and `muntin models --inspect`, as typed."""

import json

import pytest
import torch
from safetensors.torch import save_file

from muntin.cli import main
from muntin.cli.convert import LAYOUTS
from muntin.formats.swin import write
from muntin.weights.convert import LAYOUTS as LAYOUTS_IN_PYTHON
from muntin.weights.create import create_model
from muntin.weights.folder import load_model, save_model

SMALL = {"dim": 8, "depths": (1, 1), "heads": (1, 2), "window": 4}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to work in, with the model folder `bees` and the official file `bees.pth` in it."""
    monkeypatch.chdir(tmp_path)
    model = create_model("swin_tiny", num_classes=2, **SMALL)
    save_model(tmp_path / "bees", "swin_tiny", model, kind="classifier", classes=("bee", "fly"), inputs={})
    torch.save({"model": write(model.state_dict(), "official"), "epoch": 3}, tmp_path / "bees.pth")
    return tmp_path


def said(capsys, *arguments: str, code: int = 0) -> str:
    """What a command prints, on either stream."""
    assert main(list(arguments)) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return out + err


def test_convert_prints_what_became_of_the_tensors(here, capsys):
    text = said(capsys, "convert", "bees.pth", "timm.safetensors", "--layout", "timm")
    assert "backbone.stages.0.*" in text
    assert text.splitlines()[-1] == "timm.safetensors: timm layout, from the official layout"
    text = said(capsys, "convert", "timm.safetensors", "again", "--layout", "muntin")
    assert "class names: numbers, 0 to 1" in text
    assert load_model("again").classes == ("0", "1")


def test_adapt_prints_what_it_did(here, capsys):
    given = ("adapt", "bees", "new", "--window", "6x5", "--image-size", "64", "--in-chans", "1", "--num-classes", "4")
    text = said(capsys, *given, "--bias-rule", "bicubic")
    assert "4x4 -> 6x5 window, bicubic" in text
    assert "a head of zeros for 4 classes" in text
    assert text.splitlines()[-1] == "new: model folder, from the muntin layout"
    assert load_model("new").preprocess["image_size"] == [64, 64]
    assert "new exists" in said(capsys, *given, code=2)
    assert "new: model folder" in said(capsys, *given, "--overwrite")


def test_inspect_in_words_and_in_json(here, capsys):
    text = said(capsys, "models", "--inspect", "bees")
    facts = {"layout": "muntin", "windows": "4x4", "classes": "2: bee, fly", "checksum": "verified"}
    facts = {"layout": "muntin", "windows": "4x4", "classes": "2: bee, fly", "checksum": "verified"}
    for line in (f"  {name:<18}{value}" for name, value in facts.items()):
        assert line in text
    seen = json.loads(said(capsys, "models", "--inspect", "bees.pth", "--json"))
    assert (seen["layout"], seen["num_classes"], seen["depths"], seen["damage"]) == ("official", 2, [1, 1], [])


def test_inspect_of_damage_ends_with_2(here, capsys):
    (here / "bees.pth").write_bytes((here / "bees.pth").read_bytes()[:5000])
    assert "damaged: bees.pth cannot be read as weights alone: its zip archive is cut off" in said(
        capsys, "models", "--inspect", "bees.pth", code=2
    )
    assert json.loads(said(capsys, "models", "--inspect", "bees.pth", "--json", code=2))["damage"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("convert bees", "required: OUT, --layout"),
        ("convert bees out --layout tim", "invalid choice: 'tim'"),
        ("convert bees out.txt --layout timm", "out.txt should end in"),
        ("convert absent out --layout muntin", "there is no model at absent"),
        ("convert bees out --layout muntin --modle x", "did you mean --model"),
        ("adapt bees out", "nothing to adapt"),
        ("adapt bees out --window 6x", "'6x' is no size"),
        ("adapt bees out --window 0", "'0' is no size"),
        ("adapt bees out --class-map absent.txt", "absent.txt"),
        ("adapt bees out --num-classes 0", "at least 1"),
        ("adapt bees out --num-classes 1000000000000", "not enough memory"),
        ("models --inspect /dev/null", "/dev/null is no file"),
        ("models --inspect absent", "there is no model at absent"),
    ],
)
def test_a_mistake_is_one_sentence(here, capsys, arguments, sentence):
    text = said(capsys, *arguments.split(), code=2)
    assert sentence in text
    assert text.count("\n") == 1
    assert not (here / "out").exists()


def test_a_file_of_something_else(here, capsys):
    save_file({"conv1.weight": torch.ones(2)}, here / "resnet.safetensors")
    assert "no weights of Swin" in said(capsys, "convert", "resnet.safetensors", "out", "--layout", "muntin", code=2)
    assert "none that muntin knows" in said(capsys, "models", "--inspect", "resnet.safetensors")


def test_the_command_line_offers_every_layout():
    assert LAYOUTS == LAYOUTS_IN_PYTHON
