"""Saves that are cut off at every step: what is read afterwards is the old model or the new one."""

import errno
import os
from pathlib import Path

import pytest
import torch

from muntin.files import config_beside, read_tensors, write_file, write_model_folder, writing

OLD, NEW = ({"weight": torch.full((5,), float(i))} for i in (1, 2))
STEPS = 9  # of one save: two files written, three flushed, one renamed; flushed, renamed, flushed


def config(number: int, format_: str = "muntin/2") -> dict:
    return {"format": format_, "kind": "classifier", "classes": [f"class{number}"]}


def number_in(folder: Path) -> int:
    """Which model a reader finds; it must be one from description to weights."""
    weights = folder / "model.safetensors"
    described, state = config_beside(weights), read_tensors(weights)
    assert described["classes"] == [f"class{int(state['weight'][0])}"]
    return int(state["weight"][0])


class Cut(BaseException):
    """The process is killed: nothing more is done, not even cleaning up."""


def fail_at(monkeypatch, step: int, error: BaseException) -> None:
    """The `step`-th write, flush or rename fails, and with `Cut` also everything that would clean up after it."""
    count, dead = 0, False

    def guard(real):
        def guarded(*args, **kwargs):
            nonlocal count, dead
            count += 1
            if count == step or dead:
                dead = isinstance(error, Cut)
                raise error
            return real(*args, **kwargs)

        return guarded

    def unlink(path, missing_ok=False, real=Path.unlink):
        if not dead:
            real(path, missing_ok=missing_ok)

    monkeypatch.setattr(writing, "save_file", guard(writing.save_file))
    monkeypatch.setattr(Path, "write_text", guard(Path.write_text))
    monkeypatch.setattr(os, "fsync", guard(os.fsync))
    monkeypatch.setattr(Path, "replace", guard(Path.replace))
    monkeypatch.setattr(Path, "unlink", unlink)


@pytest.mark.parametrize("format_", ["muntin/2", "muntin/1"])
@pytest.mark.parametrize("step", range(1, STEPS + 1))
@pytest.mark.parametrize("error", [Cut(), OSError(errno.ENOSPC, "No space left on device")], ids=["killed", "full"])
def test_a_save_that_is_cut_off_leaves_the_old_model_or_the_new(tmp_path, monkeypatch, step, error, format_):
    write_model_folder(tmp_path, OLD, config(1, format_))
    with monkeypatch.context() as patch:
        fail_at(patch, step, error)
        with pytest.raises(type(error)):
            write_model_folder(tmp_path, NEW, config(2))
    found = number_in(tmp_path)
    assert found == (1 if step <= 6 else 2)
    if not isinstance(error, Cut) and found == 1:
        assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]

    with monkeypatch.context() as patch:  # the next save is cut off as well
        fail_at(patch, 3, error)
        with pytest.raises(type(error)):
            write_model_folder(tmp_path, {"weight": torch.full((5,), 3.0)}, config(3))
    assert number_in(tmp_path) == found
    write_model_folder(tmp_path, NEW, config(2))
    assert number_in(tmp_path) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_a_save_has_no_other_steps(tmp_path, monkeypatch):
    fail_at(monkeypatch, STEPS + 1, Cut())
    write_model_folder(tmp_path, OLD, config(1))


def test_a_first_save_that_is_cut_off_leaves_no_model(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        fail_at(patch, 2, OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(OSError, match="No space"):
            write_model_folder(tmp_path / "model", NEW, config(2))
    assert not list((tmp_path / "model").iterdir())


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "new" / "file.txt"
    write_file(path, lambda new: new.write_text("old"))

    def half(new):
        new.write_text("ne")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_file(path, half)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_tensors_that_share_memory_are_all_written(tmp_path):
    base = torch.arange(12.0)
    writing.write_tensors(
        tmp_path / "a.safetensors", {"whole": base, "again": base, "part": base[::2], "t": base.view(3, 4).T}
    )
    found = read_tensors(tmp_path / "a.safetensors")
    assert found["part"].tolist() == [0, 2, 4, 6, 8, 10]
    assert torch.equal(found["again"], base)
    assert torch.equal(found["t"], base.view(3, 4).T)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_weights_may_be_read_by_whom_the_system_lets_read_files(tmp_path):
    (tmp_path / "other").touch()
    write_model_folder(tmp_path, NEW, config(2))
    assert (tmp_path / "model.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode
