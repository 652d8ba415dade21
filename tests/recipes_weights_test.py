"""Recipes that start from weights: of another window, of other classes, from a run folder and from an official file."""

import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image

from muntin.engine.log import Log
from muntin.errors import RunError, UserError
from muntin.files import read_tensors
from muntin.formats import swin as swin_files
from muntin.models.swin_v2 import log_spaced_offsets
from muntin.recipes import ModelChoice, get, read_recipe
from muntin.runs import run, tiny
from muntin.runs.build import build
from muntin.runs.resolve import resolve
from muntin.weights.fit import resize_table
from muntin.weights.folder import load_model, read_config

SMALL, LARGE = (3, 3), (6, 6)
TRAINED = {"V1": "swin_base", "V2": "swin_v2_base_window8"}  # recipes of the weights
TUNED = {"V1": "swin_base_finetune_384", "V2": "swin_v2_base_window8"}


def twin(name: str, *, image_size: int, weights: str = "", **model):
    """A tiny twin of one epoch on a few pictures."""
    recipe = tiny(get(name))
    return replace(
        recipe,
        model=replace(recipe.model, weights=weights).with_config(**model),
        data=replace(recipe.data, limit=20),
        inputs=replace(recipe.inputs, image_size=(image_size, image_size)),
        schedule=replace(recipe.schedule, epochs=1),
        training=replace(recipe.training, batch_size=10),
    )


@pytest.fixture(scope="module", params=TRAINED)
def trained(request, tmp_path_factory):
    """(V1 or V2, run folder, official file) of a model trained with window 3 at 24 pixels."""
    folder = tmp_path_factory.mktemp(request.param)
    run(twin(TRAINED[request.param], image_size=24, window=SMALL), folder / "run", quiet=True)
    model = load_model(folder / "run").model
    state = swin_files.write(model.state_dict(), "official")
    if request.param == "V2":  # as official files have them
        table = log_spaced_offsets(SMALL, SMALL, torch.float32, torch.device("cpu")).reshape(1, 5, 5, 2)
        blocks = [key.removesuffix("logit_scale") for key in state if key.endswith("logit_scale")]
        state |= {f"{block}relative_coords_table": table for block in blocks}
    torch.save({"model": state}, folder / "official.pth")
    return request.param, folder / "run", folder / "official.pth"


@pytest.mark.parametrize("place", [1, 2], ids=["run folder", "official file"])
def test_larger_window_continues_from_weights_of_a_smaller_one(trained, place, tmp_path):
    version, before = trained[0], load_model(trained[1]).model
    recipe = twin(TUNED[version], image_size=48, window=LARGE, weights=str(trained[place]))
    parts = build(resolve(recipe), torch.device("cpu"))
    model = parts.task.model
    if version == "V1":
        was, now = (m.backbone.stages[1][0].mix.position.table for m in (before, model))
        torch.testing.assert_close(now, resize_table(was, LARGE, "bicubic"))
        assert "3x3 -> 6x6" in parts.loaded
    else:
        was, now = (m.backbone.stages[1][0].mix.position for m in (before, model))
        torch.testing.assert_close(now.fc1.weight, was.fc1.weight)
        assert now.scale_window == SMALL
        inner = now(LARGE)[0].reshape(11, 11, -1)[3:8, 3:8]  # offsets that the small window had, biased as there
        torch.testing.assert_close(inner, was(SMALL)[0].reshape(5, 5, -1))
    run(recipe, tmp_path / "tuned", quiet=True)
    tuned = load_model(tmp_path / "tuned").model.backbone.stages[1][0].mix
    assert tuned.window == LARGE
    if version == "V2":
        assert tuned.position.scale_window == SMALL
        assert read_config(tmp_path / "tuned")["config"]["pretrained_window"] == [list(SMALL)] * 2
    assert read_recipe(tmp_path / "tuned").model.config["window"] == LARGE


def test_larger_window_after_simmim_takes_its_own_rule(tmp_path):
    run(twin("simmim_swin_base_100ep", image_size=24, window=SMALL), tmp_path / "run", quiet=True)
    recipe = twin("simmim_finetune_swin_base_100ep_224", image_size=48, window=LARGE, weights=str(tmp_path / "run"))
    now = build(resolve(recipe), torch.device("cpu")).task.state_dict()
    was = read_tensors(tmp_path / "run" / "model" / "model.safetensors")
    key = "backbone.stages.1.1.mix.position.table"
    torch.testing.assert_close(now[f"model.{key}"], resize_table(was[key], LARGE, "geometric"))


@pytest.fixture
def two_classes(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(12):
            Image.new("RGB", (30, 30), (i, 9, 9)).save(tmp_path / "data" / name / f"{i}.png")
    return str(tmp_path / "data")


def build_with_map(trained, two_classes, rows: str, tmp_path):
    (tmp_path / "map.txt").write_text(rows)
    recipe = twin(TUNED[trained[0]], image_size=24, window=SMALL, weights=str(trained[2]))
    recipe = replace(recipe, data=replace(recipe.data, path=two_classes, limit=0))
    recipe = replace(recipe, model=replace(recipe.model, class_map=str(tmp_path / "map.txt")))
    return build(resolve(recipe), torch.device("cpu"))


def test_class_map_keeps_the_rows_of_the_head_it_names(trained, two_classes, tmp_path):
    old = load_model(trained[1]).model.readout.head
    parts = build_with_map(trained, two_classes, "7\n3\n", tmp_path)
    new = parts.task.model.readout.head
    assert torch.equal(new.weight, old.weight[[7, 3]])
    assert torch.equal(new.bias, old.bias[[7, 3]])
    assert "reinitialised" not in parts.loaded


@pytest.mark.parametrize(
    ("rows", "message"),
    [("7 3 1", "3 rows of a head for 2 classes"), ("7 10", "row 10 of a head of 10"), ("cat", "entry 1 is 'cat'")],
)
def test_class_map_that_does_not_fit_is_refused(trained, two_classes, rows, message, tmp_path):
    with pytest.raises(UserError, match=message):
        build_with_map(trained, two_classes, rows, tmp_path)


def test_class_map_without_weights_is_refused():
    recipe = tiny(get("swin_tiny"))
    with pytest.raises(UserError, match="give --weights, too"):
        resolve(replace(recipe, model=replace(recipe.model, class_map="map.txt")))


@pytest.mark.parametrize("name", ["finetune", "of its own"])
def test_a_run_goes_on_without_the_weights_that_it_started_from(trained, name, tmp_path, monkeypatch):
    """Also where the model, mean and std, or the scale of the log-CPB came with them."""
    version, folder, official = trained
    recipe = twin(TUNED[version], image_size=48, window=LARGE)
    weights = tmp_path / "weights"
    if name == "finetune":
        shutil.copytree(folder, weights)
        recipe = replace(recipe, model=ModelChoice(name="", from_scratch=False))
    else:
        shutil.copy(official, weights)
    recipe = replace(recipe, model=replace(recipe.model, weights=str(weights)))
    recipe = replace(recipe, training=replace(recipe.training, save_steps=1))
    run(recipe, tmp_path / "whole", quiet=True)
    with monkeypatch.context() as stopped:
        stopped.setattr(Log, "progress", stop_after_one_step())
        with pytest.raises(RunError, match="power"):
            run(recipe, tmp_path / "parts", quiet=True)
    shutil.rmtree(weights) if weights.is_dir() else weights.unlink()
    run(recipe, tmp_path / "parts", resume=True, quiet=True)
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "parts/model" / file).read_bytes() == (tmp_path / "whole/model" / file).read_bytes()
    other = replace(recipe, model=replace(recipe.model, weights="other"))
    with pytest.raises(UserError, match=r"other values of model\.weights"):
        run(other, tmp_path / "parts", resume=True, quiet=True)


def stop_after_one_step():
    steps = []

    def progress(*_):
        steps.append(1)
        if len(steps) == 2:
            raise RunError("no power")

    return progress
