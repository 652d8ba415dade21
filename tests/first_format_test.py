"""Files of the first format, written by the muntin of that time: recipes with their hashes, and a run stopped half-way.

The run is two of three epochs of a small Swin V2 on 40 digits, in fp32 on one thread.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from muntin.cli.main import main
from muntin.data import Augment
from muntin.engine import Training
from muntin.errors import UserError
from muntin.recipes import from_json, get, hash_of_run, read_recipe, recipe_hash, to_json
from muntin.runs import run
from muntin.tasks import ClassificationChoice, DistillationChoice
from muntin.weights.folder import load_model

HERE = Path(__file__).parent / "first_format"
HASHES = json.loads((HERE / "hashes.json").read_text())
LAST_EPOCH = {"loss": 2.2879562377929688, "top5": 0.55}  # of the same run that nobody stopped


def old(name: str) -> dict:
    return json.loads((HERE / "recipes" / f"{name}.json").read_text())


@pytest.mark.parametrize("name", HASHES)
def test_a_recipe_is_read_as_todays(name):
    expected = get(name)
    if name == "digits_distil":
        taught = DistillationChoice(imitate="soft", temperature=3.0, teacher_weights="runs/teacher")
        expected = replace(expected, task=taught)
    assert read_recipe(HERE / "recipes" / f"{name}.json") == expected


@pytest.mark.parametrize("name", HASHES)
def test_the_hash_of_a_run_is_the_one_that_its_checkpoints_hold(name, tmp_path):
    shutil.copy(HERE / "recipes" / f"{name}.json", tmp_path / "recipe.json")
    assert hash_of_run(tmp_path) == HASHES[name]
    recipe = read_recipe(tmp_path)
    assert recipe_hash(recipe) != HASHES[name]
    (tmp_path / "recipe.json").write_text(to_json(recipe))
    assert hash_of_run(tmp_path) == recipe_hash(recipe)


def test_the_hash_leaves_out_defaults_and_what_changes_no_number(tmp_path):
    values = old("digits")
    values["training"] |= {"workers": 7, "threads": 3}
    values["about"]["notes"] = "in other words"
    del values["optim"]["momentum"]  # as an older muntin wrote it, which had no such field
    (tmp_path / "recipe.json").write_text(json.dumps(values))
    assert hash_of_run(tmp_path) == HASHES["digits"]
    values["optim"]["lr"] = 1.0
    (tmp_path / "recipe.json").write_text(json.dumps(values))
    other = hash_of_run(tmp_path)
    assert other != HASHES["digits"]
    values["optim"]["lr"] = 1  # a whole number where a float is meant
    (tmp_path / "recipe.json").write_text(json.dumps(values))
    assert hash_of_run(tmp_path) == other


def test_what_had_no_effect_is_left_out():
    values = old("digits")
    values["masking"]["mask_patch"] = 4
    values["distillation"]["alpha"] = 0.1
    assert from_json(json.dumps(values)).task == ClassificationChoice()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masking": {"mask_pach": 4}}, "unknown field 'masking.mask_pach': did you mean masking.mask_patch"),
        ({"masking": 3}, "here: masking is 3; it must be an object with named fields"),
        ({"model": {"fields": "{"}}, "here: model.fields is {; it must be a JSON object"),
        ({"model": {"fields": 3}}, "here: model.fields is 3; it must be a JSON object"),
        ({"model": {"fields": '{"gelo": 1}'}}, "unknown field of swin_v2_tiny_window8 'model.config.gelo'"),
        ({"model": {"window": [0, 3]}}, "model.config.window is (0, 3)"),
        ({"task": "simmin"}, 'here: task.kind is "simmin"; it must be classification, distillation or simmim'),
        ({"preprocess": {"image_size": [3]}}, "inputs.image_size is [3]"),
        ({"task": "distillation", "distillation": {"alpha": 2.0}}, "alpha is 2.0"),
        ({"data": {}}, "here: data.path is missing"),
    ],
)
def test_what_is_wrong_is_refused(change, message):
    values = old("digits") | change
    with pytest.raises(UserError) as caught:
        from_json(json.dumps(values | {"model": {"name": "swin_v2_tiny_window8"} | values["model"]}), "here")
    assert message in str(caught.value)


@pytest.fixture
def stopped(tmp_path) -> Path:
    return Path(shutil.copytree(HERE / "run", tmp_path / "run"))


def test_a_run_goes_on_to_the_same_losses(stopped):
    summary = run(read_recipe(stopped), stopped, resume=True, quiet=True)
    assert summary["train_loss"] == pytest.approx(LAST_EPOCH["loss"], rel=1e-4)
    assert summary["top5"] == pytest.approx(LAST_EPOCH["top5"], abs=0.05)
    assert json.loads((stopped / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 6
    assert main(["predict", str(stopped), "digits", "--top", "1"]) == 0
    run(read_recipe(stopped), stopped, resume=True, quiet=True)  # there is nothing left to do


def test_a_run_of_another_recipe_does_not_go_on(stopped):
    recipe = read_recipe(stopped)
    more_workers = replace(recipe, training=Training(**vars(recipe.training) | {"workers": 1}))
    assert run(more_workers, stopped, resume=True, quiet=True)["epochs"] == 3
    with pytest.raises(UserError, match=r"other values of augment\.rotate"):
        run(replace(recipe, augment=Augment(**vars(recipe.augment) | {"rotate": 1})), stopped, resume=True, quiet=True)


def test_a_model_folder_loads_predicts_and_is_measured(stopped, capsys):
    folder = stopped / "checkpoints" / "step_00000004" / "model"
    saved = load_model(folder)
    assert saved.classes == tuple("0123456789")
    assert saved.model.eval()(torch.zeros(1, 1, 24, 24)).shape == (1, 10)
    assert main(["predict", str(folder), "digits", "--top", "1"]) == 0
    capsys.readouterr()
    assert main(["eval", str(folder), "--data", "digits", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 1000
