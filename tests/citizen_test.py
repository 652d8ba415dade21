"""A model joins the catalog by files of its own and one line of an index; nothing else in the package is touched.

A copy of the package gets the files of `citizen/` and the model of `pooling_model.py`, each in its room, and the
model's line in the catalog's index, the recipe's in that of recipes. Then it is put to all uses of a model.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import muntin

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """The folder of a muntin that has PoolFormer."""
    root = tmp_path_factory.mktemp("citizen")
    source = Path(muntin.__file__).parent
    shutil.copytree(source, root / "muntin", ignore=shutil.ignore_patterns("*_test.py", "__pycache__"))
    shutil.copy(HERE / "pooling_model.py", root / "muntin" / "models" / "poolformer.py")
    for room in ("formats", "catalog", "recipes"):
        shutil.copy(HERE / "citizen" / room / "poolformer.py", root / "muntin" / room)
    edit(root / "muntin" / "catalog" / "names.py", r"(PAPERS = \(.*)\)", r'\1, "poolformer")')
    edit(root / "muntin" / "recipes" / "index.py", r"(from \. import convnext.*)", r"\1, poolformer")
    edit(root / "muntin" / "recipes" / "index.py", r"(\n +)(swin\.swin_tiny,)", r"\1poolformer.poolformer_digits,\1\2")
    return root


def edit(file: Path, old: str, new: str) -> None:
    text, count = re.subn(old, new, file.read_text(encoding="utf-8"))
    assert count == 1, (file, old)
    file.write_text(text, encoding="utf-8")


def run(package: Path, code: str) -> None:
    """Run code with this muntin, in a process that has imported no other."""
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=package,
        env=os.environ | {"PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert not found.returncode, found.stderr


def test_it_is_built_loaded_from_two_foreign_layouts_converted_and_adapted(package):
    run(package, LOADS)


LOADS = """
from pathlib import Path

import torch
import muntin
from muntin.catalog import entry
from muntin.files import read_tensors

assert "poolformer_tiny" in muntin.list_models("pool*")
torch.manual_seed(0)
model, picture = muntin.create_model("poolformer_xs", num_classes=5).eval(), torch.randn(2, 3, 32, 32)
logits = model(picture)
for layout in ("official", "timm"):
    tensors = entry("poolformer_tiny").family.files.write(model.state_dict(), layout)
    torch.save(tensors, f"{layout}.pth")
    seen = muntin.inspect(f"{layout}.pth")
    assert (seen.layout, seen.model, seen.num_classes, seen.damage) == (layout, "poolformer_tiny", 5, [])
    loaded = muntin.create_model("poolformer_tiny", num_classes=5, weights=f"{layout}.pth").eval()
    assert torch.equal(loaded(picture), logits)
    report = muntin.convert(f"{layout}.pth", f"from_{layout}", layout="muntin")
    assert report.layout == layout
    assert torch.equal(muntin.load_model(f"from_{layout}").model(picture), logits)
    muntin.convert(f"from_{layout}", f"again_{layout}.pth", layout=layout)
    again = read_tensors(Path(f"again_{layout}.pth"))
    assert all(torch.equal(again[key], tensor) for key, tensor in tensors.items())
muntin.adapt("official.pth", "grey", in_chans=1, num_classes=3)
grey = muntin.load_model("grey")
assert grey.model(torch.randn(1, 1, 32, 32)).shape == (1, 3) and len(grey.classes) == 3
try:
    muntin.create_model("swin_tiny", weights="timm.pth")
except muntin.UserError as error:
    assert "holds a PoolFormer and the model is a Swin" in str(error), error
else:
    raise AssertionError("a Swin took the weights of a PoolFormer")
"""


def test_it_trains_predicts_and_is_reported_on(package):
    run(package, USES)


USES = """
import contextlib
import io
from pathlib import Path

from PIL import Image
from muntin.cli.main import main


def said(*arguments):
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        assert main(list(arguments)) == 0, arguments
    return shown.getvalue()


few = ("--data.limit", "300", "--batch-size", "50", "--epochs", "1", "--warmup-epochs", "0")
said("train", "poolformer_digits", "--out", "run", *few)
assert "poolformer_tiny" in said("models", "--inspect", "run")
assert "top-1" in said("eval", "run", "--data", "digits")
assert "poolformer_tiny" in Path("run/report.html").read_text(encoding="utf-8")
Image.new("L", (28, 28), 128).save("picture.png")
assert said("predict", "run", "picture.png")
"""
