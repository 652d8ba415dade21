import json
import random

import pytest
import torch

from muntin.errors import UserError
from muntin.files import config_beside, read_tensors, write_model_folder
from muntin.files.sums import describe

STATE = {"weight": torch.arange(60.0), "bias": torch.ones(2)}
CONFIG = {
    "format": "muntin/2",
    "kind": "classifier",
    "classes": ["käfer", "ant"],
    "preprocess": {"image_size": [224, 256], "crop_ratio": 0.875, "mean": [1.25e-05]},
}


@pytest.fixture
def folder(tmp_path):
    write_model_folder(tmp_path / "model", STATE, CONFIG)
    return tmp_path / "model"


def load(folder):
    return config_beside(folder / "model.safetensors"), read_tensors(folder / "model.safetensors")


def test_a_folder_comes_back_with_its_description(folder):
    config, state = load(folder)
    assert {key: config[key] for key in CONFIG} == CONFIG
    assert config["files"] == {"model.safetensors": describe(folder / "model.safetensors")}
    assert all(torch.equal(state[key], value) for key, value in STATE.items())


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_flipped_bit_is_found_wherever_it_is(folder, name):
    """A thousand places of each file. What may pass is a number that reads as the same one: 1.25e-05, 1.25E-05."""
    config, _ = load(folder)
    path, dice = folder / name, random.Random(3)
    good, passed = path.read_bytes(), 0
    bits = range(len(good) * 8)
    for bit in bits if len(bits) <= 1000 else dice.sample(bits, 1000):
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            found, state = load(folder)
        except UserError:
            continue
        assert found == config
        assert all(torch.equal(state[key], value) for key, value in STATE.items())
        passed += 1
    assert passed <= 1


def test_weights_of_another_save_are_told_apart(folder, tmp_path):
    write_model_folder(tmp_path / "other", {"weight": torch.zeros(60), "bias": torch.ones(2)}, CONFIG)
    (tmp_path / "other" / "model.safetensors").replace(folder / "model.safetensors")
    with pytest.raises(UserError, match="other contents than were written"):
        read_tensors(folder / "model.safetensors")
    write_model_folder(tmp_path / "other", {"weight": torch.zeros(6)}, CONFIG)
    (tmp_path / "other" / "model.safetensors").replace(folder / "model.safetensors")
    with pytest.raises(UserError, match=r"has \d+ bytes, and \d+ were written"):
        read_tensors(folder / "model.safetensors")


def test_a_description_without_checksums_is_the_older_format(folder):
    path = folder / "config.json"
    config = {k: v for k, v in json.loads(path.read_text()).items() if k not in ("files", "sha256")}
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match="its own checksum differs"):
        load(folder)
    path.write_text(json.dumps(config | {"format": "muntin/1"}, indent=4))
    assert load(folder)[0]["classes"] == CONFIG["classes"]


def test_another_layout_of_the_same_json_is_no_damage(folder):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=7, sort_keys=True).replace("\n", "\r\n"))
    assert load(folder)[0]["classes"] == CONFIG["classes"]


def test_the_description_of_another_project_is_passed_over(folder):
    (folder / "config.json").write_text('{"model_type": "swin"}')
    assert load(folder)[0] is None


@pytest.mark.parametrize("inside", ["model.safetensors", "model/model.safetensors"])
def test_the_manifest_of_a_checkpoint_counts(tmp_path, inside):
    write_model_folder((tmp_path / inside).parent, STATE, CONFIG | {"format": "muntin/1"})
    manifest = {"files": {inside: describe(tmp_path / inside)}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    read_tensors(tmp_path / inside)
    manifest["files"][inside]["sha256"] = "0" * 64
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"manifest\.json"):
        read_tensors(tmp_path / inside)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json cannot be read"):
        read_tensors(tmp_path / inside)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"a": ' + "9" * 5000 + "}"])
def test_a_damaged_description_is_one_sentence(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config\.json is (missing|no model)") as error:
        load(folder)
    assert "\n" not in str(error.value)
