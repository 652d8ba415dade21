import io
import json
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from muntin.data.loading.order import Order
from muntin.errors import UserError
from muntin.recipes import ModelChoice, get
from muntin.runs import run
from muntin.runs.build import build
from muntin.runs.tiny import tiny


@pytest.fixture
def shards(tmp_path):
    """A folder of shards with 60 pictures to train on and 30 to validate on; numbers 7 and 8 of both are cut off."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for split, count in (("train", 60), ("val", 30)):
        with tarfile.open(folder / f"{split}-0.tar", "w") as tar:
            for number in range(count):
                pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(file := io.BytesIO(), "png")
                content = file.getvalue()[: 60 if number in (7, 8) else None]
                for name, part in ((f"{number}.png", content), (f"{number}.cls", str(number % 2).encode())):
                    info = tarfile.TarInfo(name)
                    info.size = len(part)
                    tar.addfile(info, io.BytesIO(part))
    return folder


def _recipe(folder, bad_share, name="train"):
    recipe = tiny(get(name))
    return replace(recipe, data=replace(recipe.data, path=str(folder), limit=0, bad_share=bad_share))


def _listed(file):
    return sorted(line.split("\t")[0].split("!")[1] for line in file.read_text().splitlines())


def test_a_run_on_shards_survives_bad_pictures_and_lists_them(shards, tmp_path):
    out = tmp_path / "run"
    summary = run(_recipe(shards, 0.1), out, quiet=True)
    assert _listed(out / "bad_files.txt") == _listed(out / "bad_val_files.txt") == ["7.png", "8.png"]
    assert (summary["train_samples"], summary["val_samples"], summary["left_out"]) == (60, 28, 2)
    assert (out / "report.html").is_file()
    run(_recipe(shards, 0.1), out, quiet=True, overwrite=True)
    assert _listed(out / "bad_files.txt") == ["7.png", "8.png"]  # the old run's list does not count twice, nor is lost


def test_pre_training_takes_shards_without_their_labels(shards, tmp_path):
    summary = run(_recipe(shards, 0.1, "pretrain"), tmp_path / "run", quiet=True)
    assert (summary["train_samples"], summary["left_out"]) == (60, 2)


def test_a_run_stops_above_the_share(shards, tmp_path):
    (shards / "val-0.tar").unlink()
    recipe = _recipe(shards, 0.1)
    recipe = replace(recipe, data=replace(recipe.data, val_share=0.0, bad_share=0.02))
    out = tmp_path / "run"
    with pytest.raises(UserError, match=r"2 of 60 pictures cannot be read, more than the share of 0\.02"):
        run(recipe, out, quiet=True)
    assert not out.exists()  # it had no checkpoint yet: a start that failed


def test_a_bad_picture_that_training_never_met_does_not_spoil_the_report(shards, tmp_path):
    (shards / "val-0.tar").unlink()
    recipe = _recipe(shards, 0.1)
    for seed in range(100):  # one whose only update meets neither
        order = Order(60, 40, seed=seed, shuffle=True, drop_last=True, rank=0, world=1, shards=np.zeros(60, int))
        if not {7, 8} & set(np.concatenate(order.epoch(0)).tolist()):
            break
    training = replace(recipe.training, batch_size=40 * recipe.training.accumulate, seed=seed)
    data = replace(recipe.data, val_share=0.0)
    run(replace(recipe, data=data, training=training, schedule=replace(recipe.schedule, epochs=1)), tmp_path / "run")
    assert not (tmp_path / "run" / "bad_files.txt").exists()
    assert (tmp_path / "run" / "report.html").is_file()


def test_the_share_may_change_on_resume(shards, tmp_path):
    out = tmp_path / "run"
    run(_recipe(shards, 0.1), out, quiet=True)
    before = json.loads((out / "summary.json").read_text())
    after = run(_recipe(shards, 0.2), out, quiet=True, resume=True)
    assert after["train_loss"] == before["train_loss"]


def test_share_zero_stops_at_the_first(shards, tmp_path):
    with pytest.raises(UserError, match=r"0\.tar!\d\.png is not a picture that can be read"):
        run(_recipe(shards, 0.0), tmp_path / "run", quiet=True)


def test_a_share_out_of_range_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"data: bad_share is 1\.5; it must be at least 0 and below 1"):
        _recipe(tmp_path, 1.5)


@pytest.mark.parametrize(
    ("name", "fields", "size", "grid"),
    [
        ("vit_tiny_patch16", {"patch": (4, 8)}, (32, 32), (8, 4)),
        ("vit_r26_small_patch32", {"heads": 2}, (50, 64), (2, 2)),  # a ResNet's stem rounds up
    ],
)
def test_positions_are_learned_for_the_cells_that_the_pictures_have(name, fields, size, grid):
    recipe = get("digits")
    model = ModelChoice(name=name, config={"dim": 16, "depth": 1, "heads": 2} | fields)
    recipe = replace(recipe, model=model, inputs=replace(recipe.inputs, image_size=size))
    backbone = build(recipe, torch.device("cpu")).task.parts()["backbone"]
    assert backbone.config.grid == grid
    assert backbone.embed(torch.zeros(1, 1, *size)).shape[1:-1] == grid
