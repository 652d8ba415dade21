import json
import logging

import pytest
import torch
from torch import nn

from muntin.engine import checkpoint
from muntin.engine.optim import Optim, build_optimizer
from muntin.errors import UserError


def _save(folder, update=1, value=1.0):
    path = checkpoint.step_folder(folder, update)
    checkpoint.save(path, {"model/w": torch.full((3,), value)}, {"update": update})
    return path


def test_what_is_saved_is_loaded(tmp_path):
    tied = torch.arange(6.0).reshape(2, 3)
    tensors = {"a": tied, "b": tied, "view": tied.t(), "scalar": torch.tensor(3), "half": tied.bfloat16()}
    checkpoint.save(tmp_path / "step_1", tensors, {"update": 7, "best": None, "mean": 0.1})
    loaded, numbers = checkpoint.load(tmp_path / "step_1")
    assert numbers == {"update": 7, "best": None, "mean": 0.1}
    assert loaded.keys() == tensors.keys()
    for name in tensors:
        assert torch.equal(loaded[name], tensors[name])
        assert loaded[name].dtype == tensors[name].dtype


@pytest.mark.parametrize("harm", ["truncated", "flipped", "missing", "no manifest", "broken manifest"])
def test_a_damaged_checkpoint_is_named_and_skipped(tmp_path, harm, caplog):
    good, bad = _save(tmp_path, 1), _save(tmp_path, 2)
    file = bad / ("manifest.json" if "manifest" in harm else "state.safetensors")
    content = bytearray(file.read_bytes())
    if harm in ("missing", "no manifest"):
        file.unlink()
    elif harm in ("truncated", "broken manifest"):
        file.write_bytes(content[:-5])
    else:
        content[-1] ^= 1
        file.write_bytes(content)
    with caplog.at_level(logging.WARNING, "muntin"):
        assert checkpoint.latest(tmp_path) == good
    assert str(bad) in caplog.text
    assert file.name in caplog.text
    with pytest.raises(UserError, match="damaged"):
        checkpoint.load(bad)


def test_there_is_no_latest_in_an_empty_or_missing_folder(tmp_path):
    assert checkpoint.latest(tmp_path) is None
    assert checkpoint.latest(tmp_path / "none") is None
    assert not checkpoint.exist(tmp_path / "none")


def test_a_failed_save_leaves_the_old_checkpoint_and_nothing_else(tmp_path):
    old = _save(tmp_path, 1)

    def fail(folder):
        raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        checkpoint.save(old, {"model/w": torch.zeros(1)}, {}, add=fail)
    assert [path.name for path in tmp_path.iterdir()] == [old.name]
    assert checkpoint.load(old)[1] == {"update": 1}


def test_saving_again_replaces_the_folder_as_a_whole(tmp_path):
    _save(tmp_path, 1, value=1.0)
    (tmp_path / "step_00000001" / "left_over").write_text("")
    again = _save(tmp_path, 1, value=2.0)
    assert checkpoint.load(again)[0]["model/w"].tolist() == [2, 2, 2]
    assert sorted(path.name for path in again.iterdir()) == ["manifest.json", "state.json", "state.safetensors"]
    assert [path.name for path in tmp_path.iterdir()] == [again.name]


def test_added_files_are_covered_by_the_manifest(tmp_path):
    def add(folder):
        (folder / "model").mkdir()
        (folder / "model" / "config.json").write_text("{}")

    checkpoint.save(tmp_path / "step_1", {"a": torch.zeros(1)}, {}, add=add)
    assert checkpoint.damage(tmp_path / "step_1") == ""
    (tmp_path / "step_1" / "model" / "config.json").write_text("[]")
    assert "model/config.json" in checkpoint.damage(tmp_path / "step_1")


def test_the_best_outlives_its_step_folder(tmp_path):
    for update in (1, 2, 3):
        folder = _save(tmp_path, update, value=update)
        if update < 3:
            checkpoint.mark_best(folder)
    (tmp_path / ".step_00000009.x.new.unfinished").mkdir()
    checkpoint.keep_last(tmp_path, 1, folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "step_00000003"]
    assert checkpoint.load(tmp_path / "best")[1] == {"update": 2}


def test_what_was_just_saved_stays_beside_a_damaged_later_step(tmp_path):
    _save(tmp_path, 20)
    (_save(tmp_path, 30) / "state.safetensors").write_bytes(b"")
    saved = _save(tmp_path, 25)
    checkpoint.keep_last(tmp_path, 1, saved)
    assert checkpoint.latest(tmp_path) == saved


def test_no_file_is_pickled(tmp_path):
    folder = _save(tmp_path)
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}
    json.loads((folder / "state.json").read_text())


def _trained(layer_decay):
    torch.manual_seed(0)
    task = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    task.layers = lambda: [[task[0]], [task[1]]]
    optimizer = build_optimizer(task, Optim(layer_decay=layer_decay), batch_size=1)
    return task, optimizer


def _step(task, optimizer):
    task(torch.ones(4, 3)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_the_optimizer_goes_on_by_name_even_when_grouped_otherwise(tmp_path):
    task, optimizer = _trained(1.0)
    _step(task, optimizer)
    tensors = {k: v.clone() for k, v in checkpoint.optimizer_tensors(optimizer).items()}
    other_task, other = _trained(0.5)
    checkpoint.load_optimizer(other, tensors)
    assert checkpoint.optimizer_tensors(other).keys() == tensors.keys()
    for name, tensor in checkpoint.optimizer_tensors(other).items():
        assert torch.equal(tensor, tensors[name])
    assert "0.weight/exp_avg_sq" in tensors
    _step(other_task, other)


def test_the_state_of_a_foreign_parameter_is_refused():
    _, optimizer = _trained(1.0)
    with pytest.raises(UserError, match=r"'7\.weight'"):
        checkpoint.load_optimizer(optimizer, {"7.weight/exp_avg": torch.zeros(2)})
