import contextlib
import errno
import itertools
import json
import logging
import os
import random
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from muntin.engine import checkpoint
from muntin.engine.optim import Optim, build_optimizer
from muntin.errors import RunError, UserError
from muntin.files import writing


def _save(folder, update=1, value=1.0):
    path = checkpoint.step_folder(folder, update)
    checkpoint.save(path, {"model/w": torch.full((3,), value)}, {"update": update}, step=update)
    return path


def test_what_is_saved_is_loaded(tmp_path):
    tied = torch.arange(6.0).reshape(2, 3)
    tensors = {"a": tied, "b": tied, "view": tied.t(), "scalar": torch.tensor(3), "half": tied.bfloat16()}
    checkpoint.save(tmp_path / "step_1", tensors, {"update": 7, "best": None, "mean": 0.1}, step=7)
    loaded, numbers = checkpoint.load(tmp_path / "step_1")
    assert numbers == {"update": 7, "best": None, "mean": 0.1}
    assert loaded.keys() == tensors.keys()
    for name in tensors:
        assert torch.equal(loaded[name], tensors[name])
        assert loaded[name].dtype == tensors[name].dtype


def test_every_file_that_is_json_names_the_format_and_older_numbers_that_do_not_are_read(tmp_path, monkeypatch):
    new = _save(tmp_path, 1)
    assert {json.loads(file.read_text())["format"] for file in new.glob("*.json")} == {checkpoint.FORMAT}
    write = Path.write_text
    without = f'  "format": "{checkpoint.FORMAT}",\n  "update"'
    monkeypatch.setattr(
        Path, "write_text", lambda path, text, **how: write(path, text.replace(without, '  "update"'), **how)
    )
    old = _save(tmp_path, 2)
    assert json.loads((old / "state.json").read_text()) == {"update": 2}
    assert checkpoint.load(old)[1] == {"update": 2}


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
        checkpoint.save(old, {"model/w": torch.zeros(1)}, {}, step=1, add=fail)
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

    checkpoint.save(tmp_path / "step_1", {"a": torch.zeros(1)}, {}, step=1, add=add)
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


def test_the_manifest_names_format_step_and_recipe(tmp_path):
    checkpoint.save(tmp_path / "step_1", {"a": torch.zeros(1)}, {}, step=7, recipe="abc")
    manifest = checkpoint.read_manifest(tmp_path / "step_1")
    assert (manifest["format"], manifest["step"], manifest["recipe"]) == (checkpoint.FORMAT, 7, "abc")
    assert set(manifest["files"]) == {"state.json", "state.safetensors"}


def test_every_flipped_bit_is_found(tmp_path):
    folder = tmp_path / "step_1"
    tensors = {"model/w": torch.randn(50), "model/b": torch.zeros(9)}
    checkpoint.save(folder, tensors, {"update": 1, "mean": 0.1}, step=1, recipe="0" * 64)
    draw, files = random.Random(0), sorted(folder.iterdir())
    for _ in range(1000):
        file = draw.choice(files)
        whole = file.read_bytes()
        place, bit = draw.randrange(len(whole)), draw.randrange(8)
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
        assert file.name in checkpoint.damage(folder), (file, place, bit)
        file.write_bytes(whole)
    assert checkpoint.damage(folder) == ""


def test_a_manifest_of_another_format_or_with_foreign_paths_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", "muntin-checkpoint/99")
    _save(tmp_path, 1)
    monkeypatch.undo()
    assert "this version of muntin reads" in checkpoint.damage(checkpoint.step_folder(tmp_path, 1))
    file = _save(tmp_path, 2) / "manifest.json"
    manifest = {k: v for k, v in json.loads(file.read_text()).items() if k != "sha256"}
    manifest["files"] |= {"../secret": {"bytes": 1, "sha256": ""}}
    file.write_bytes(checkpoint._manifest_text(manifest))
    assert "outside of the checkpoint" in checkpoint.damage(file.parent)


def test_the_best_is_taken_when_every_step_is_damaged_and_all_are_named(tmp_path, caplog):
    checkpoint.mark_best(_save(tmp_path, 1))
    shutil.rmtree(checkpoint.step_folder(tmp_path, 1))
    damaged = [_save(tmp_path, 2), _save(tmp_path, 3)]
    for folder in damaged:
        (folder / "state.json").write_text("{}")
    with caplog.at_level(logging.WARNING, "muntin"):
        assert checkpoint.latest(tmp_path) == tmp_path / "best"
    assert [str(folder) in caplog.text for folder in damaged] == [True, True]


@pytest.mark.parametrize("name", ["step_00000001", "best"])
def test_a_folder_whose_replacement_was_cut_short_comes_back(tmp_path, name):
    checkpoint.mark_best(_save(tmp_path, 1))
    (tmp_path / name).rename(tmp_path / f".{name}.1234.old.unfinished")
    (tmp_path / f".{name}.1234.new.unfinished").mkdir()
    assert checkpoint.exist(tmp_path)
    checkpoint.recover(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "step_00000001"]
    assert checkpoint.damage(tmp_path / name) == ""


DISK = (
    *((os, name) for name in ("mkdir", "fsync", "rename", "link", "unlink", "rmdir")),
    *((Path, name) for name in ("write_text", "write_bytes")),
    (writing, "save_file"),
)


def _fail(monkeypatch, first, last, harm):
    """Have the disk operations number `first` to `last` do `harm` instead, half-way through; a count of them all."""
    counted = itertools.count(1)
    seen = []

    def failing(original):
        def operation(*given, **named):
            seen.append(next(counted))
            if first <= seen[-1] <= last:
                if original is save_file:
                    original(*given, **named)
                    Path(given[1]).write_bytes(Path(given[1]).read_bytes()[:20])
                harm()
            return original(*given, **named)

        return operation

    save_file = writing.save_file
    for place, name in DISK:
        monkeypatch.setattr(place, name, failing(getattr(place, name)))
    return seen


def _cycle(folder, update):
    """A save as the engine does it."""
    saved = checkpoint.step_folder(folder, update)
    checkpoint.save(saved, {"model/w": torch.full((3,), float(update))}, {"update": update}, step=update)
    checkpoint.mark_best(saved)
    checkpoint.keep_last(folder, 1, saved)


def _assert_two_or_three(folder):
    """The newest checkpoint and the best are whole, and of before the failed save or of it."""
    for place in (checkpoint.latest(folder), folder / "best"):
        tensors, numbers = checkpoint.load(place)
        assert numbers["update"] in (2, 3)
        assert tensors["model/w"].tolist() == [numbers["update"]] * 3


def _no_space():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("stays", [False, True], ids=["once", "from then on"])
def test_a_disk_that_is_full_at_any_moment_of_a_save_costs_no_older_checkpoint(tmp_path, monkeypatch, stays):
    for number in itertools.count(1):
        folder = tmp_path / str(number)
        _cycle(folder, 1)
        _cycle(folder, 2)
        with monkeypatch.context() as patch:
            seen = _fail(patch, number, 10**6 if stays else number, _no_space)
            with contextlib.suppress(RunError):
                _cycle(folder, 3)
        checkpoint.recover(folder)  # as a resumed run does first
        _assert_two_or_three(folder)
        _cycle(folder, 4)
        assert sorted(path.name for path in folder.iterdir()) == ["best", "step_00000004"]
        if len(seen) < number:
            break
    assert number > 25  # every write, flush, rename and link of a save has failed once


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_run_that_ends_at_any_moment_of_a_save_leaves_a_whole_checkpoint(tmp_path, monkeypatch):
    for number in itertools.count(1):
        folder = tmp_path / str(number)
        _cycle(folder, 1)
        _cycle(folder, 2)
        if (child := os.fork()) == 0:
            _fail(monkeypatch, number, number, lambda: os._exit(9))
            _cycle(folder, 3)
            os._exit(0)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert checkpoint.exist(folder)
        checkpoint.recover(folder)
        _assert_two_or_three(folder)
        assert not list(folder.glob(".*"))
        _cycle(folder, 4)
        assert sorted(path.name for path in folder.iterdir()) == ["best", "step_00000004"]
        if ended == 0:
            break
    assert number > 25


def test_a_full_disk_is_said_in_one_sentence(tmp_path, monkeypatch):
    _fail(monkeypatch, 4, 4, _no_space)
    says = r"the checkpoint of step 3 could not be written to .*: No space left on device \(.* free there, .* needed\)"
    with pytest.raises(RunError, match=says):
        _cycle(tmp_path, 3)


def test_what_the_system_refuses_to_the_writer_of_tensors_is_one_sentence_too(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"the checkpoint of step 1 could not be written to .*file: Not a directory"):
        checkpoint.save(tmp_path / "file" / "step_1", {"a": torch.zeros(1)}, {}, step=1)


def test_a_checkpoint_that_the_disk_does_not_give_back_is_named_and_skipped(tmp_path, monkeypatch, caplog):
    good, bad = _save(tmp_path, 1), _save(tmp_path, 2)
    digest = checkpoint._sha256

    def broken(file):
        if file.parent == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return digest(file)

    monkeypatch.setattr(checkpoint, "_sha256", broken)
    with caplog.at_level(logging.WARNING, "muntin"):
        assert checkpoint.latest(tmp_path) == good
    assert f"{bad}: state.json cannot be read: {os.strerror(errno.EIO)}" in caplog.text


def test_a_copy_that_somebody_put_beside_the_checkpoints_is_left_alone(tmp_path):
    first, second = _save(tmp_path, 1), _save(tmp_path, 2)
    copy = shutil.copytree(first, tmp_path / "step_00000001_good")
    other = shutil.copytree(second, tmp_path / "step_00000009_bad")
    assert checkpoint.latest(tmp_path) == second
    checkpoint.keep_last(tmp_path, 1, second)
    assert sorted(path for path in tmp_path.iterdir()) == sorted([copy, other, second])
