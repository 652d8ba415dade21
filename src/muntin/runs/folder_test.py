import errno
import json
import os
from dataclasses import replace
from types import SimpleNamespace

import pytest

from muntin.errors import RunError, UserError
from muntin.ops.fast.choice import BEFORE_THE_TABLE, CASES, Choice, use
from muntin.recipes import get
from muntin.runs.build import Parts
from muntin.runs.folder import (
    check_folder,
    check_same,
    check_same_data,
    new_run,
    open_folder,
    read_choice,
    settle,
    write_data,
)


def test_free_name_is_accepted_and_not_created(tmp_path):
    check_folder(tmp_path / "new", resume=False, overwrite=False)
    assert not (tmp_path / "new").exists()


def test_folder_that_exists_is_refused(tmp_path):
    (tmp_path / "notes").touch()
    with pytest.raises(UserError, match=r"exists and has no recipe.json, choose another --out"):
        check_folder(tmp_path, resume=False, overwrite=False)


def test_only_a_run_is_overwritten(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="no run to overwrite"):
        check_folder(tmp_path, resume=False, overwrite=True)
    run = tmp_path / "run"
    open_folder(run, get("digits"))
    (run / "old").touch()
    check_folder(run, resume=False, overwrite=True)
    open_folder(run, get("digits"))
    assert sorted(p.name for p in run.iterdir()) == ["environment.json", "recipe.json"]
    assert "torch" in json.loads((run / "environment.json").read_text())


def test_resuming_needs_a_checkpoint(tmp_path):
    with pytest.raises(UserError, match="nothing to resume"):
        check_folder(tmp_path, resume=True, overwrite=False)


def test_resuming_allows_what_changes_no_number(tmp_path):
    recipe = get("digits")
    open_folder(tmp_path / "run", recipe)
    check_same(replace(recipe, training=replace(recipe.training, workers=7)), tmp_path / "run")
    with pytest.raises(UserError, match=r"other values of optim\.lr"):
        check_same(replace(recipe, optim=replace(recipe.optim, lr=1.0)), tmp_path / "run")


def test_a_run_folder_holds_where_tuned_code_is_used(tmp_path):
    here = Choice("here", frozenset(CASES[:3]))
    with use(here):
        open_folder(tmp_path / "run", get("digits"))
    assert read_choice(tmp_path / "run") == here


def test_runs_from_before_the_table_go_on_as_they_began(tmp_path):
    (tmp_path / "environment.json").write_text('{"torch": "2.11"}')
    assert read_choice(tmp_path) == BEFORE_THE_TABLE
    assert read_choice(tmp_path / "without environment.json") == BEFORE_THE_TABLE


@pytest.mark.parametrize(
    "text", ['{"tuned_code": 5}', '{"tuned_code": {"name": "avx2"}}', '{"tuned_code": []}', '{"tuned', "[]"]
)
def test_a_damaged_choice_is_no_choice(text, tmp_path):
    (tmp_path / "environment.json").write_text(text)
    with pytest.raises(UserError, match=r"environment\.json is damaged"):
        read_choice(tmp_path)


def test_sentences_after_a_failed_run_do_not_point_at_each_other(tmp_path):
    run = tmp_path / "run"
    open_folder(run, get("digits"))
    with pytest.raises(UserError) as exists:
        check_folder(run, resume=False, overwrite=False)
    with pytest.raises(UserError) as resuming:
        check_folder(run, resume=True, overwrite=False)
    assert "--overwrite" in str(exists.value)
    assert "--resume" not in str(exists.value)
    assert "start anew with --overwrite" in str(resuming.value)
    (run / "checkpoints" / "step_00000001").mkdir(parents=True)
    with pytest.raises(UserError, match="continue with --resume"):
        check_folder(run, resume=False, overwrite=False)


@pytest.mark.parametrize("place", ["file/run", "file/deep/run"])
def test_folder_below_a_file_is_refused(place, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is a file"):
        check_folder(tmp_path / place, resume=False, overwrite=False)


@pytest.mark.parametrize("error", [UserError, RuntimeError, RunError, KeyboardInterrupt])
def test_start_that_fails_puts_the_old_run_back(error, tmp_path):
    run = tmp_path / "run"
    open_folder(run, get("digits"))
    (run / "old").touch()

    def start():
        with new_run(run, get("digits")):
            assert not (run / "old").exists()
            raise error

    with pytest.raises(error):
        start()
    assert (run / "old").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(("error", "stays"), [(UserError, False), (OSError, False), (RunError, True)])
def test_start_that_fails_on_a_free_name_leaves_only_what_is_worth_a_look(error, stays, tmp_path):
    with pytest.raises(error), new_run(tmp_path / "run", get("digits")):
        raise error
    assert (tmp_path / "run").exists() == stays


def test_old_run_goes_once_the_new_one_has_a_checkpoint(tmp_path):
    run = tmp_path / "run"
    open_folder(run, get("digits"))

    def start():
        with new_run(run, get("digits")) as forget_old:
            forget_old()
            assert len(list(tmp_path.iterdir())) == 2  # there is nothing yet to lose it for
            (run / "checkpoints" / "step_00000001").mkdir(parents=True)
            forget_old()
            assert [p.name for p in tmp_path.iterdir()] == ["run"]
            raise OSError("later")

    with pytest.raises(OSError, match="later"):
        start()
    assert (run / "checkpoints" / "step_00000001").exists()


class Pictures:
    """Named pictures with labels, without the pictures."""

    def __init__(self, names="abc", labels=(0, 1, 0), classes=("cat", "dog")):
        self.names, self.labels, self.classes = names, labels, classes

    def __len__(self):
        return len(self.names)

    def name(self, index):
        return self.names[index]

    def label(self, index):
        return self.labels[index]


def _parts(train, val=None):
    return Parts(None, SimpleNamespace(source=train), val and SimpleNamespace(source=val), "")


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (_parts(Pictures("abcd", (0, 1, 0, 1)), Pictures()), "train had 3 pictures and has 4"),
        (_parts(Pictures(), Pictures(classes=("cat", "dog", "ox"))), "val had 2 classes and has 3"),
        (_parts(Pictures(), Pictures("abd")), "val has other names or labels"),
        (_parts(Pictures(labels=(0, 1, 1)), Pictures()), "train has other names or labels"),
        (_parts(Pictures(classes=("cat", "cow")), Pictures()), "train has other names or labels"),
    ],
)
def test_resuming_on_other_data_is_refused(now, says, tmp_path):
    write_data(_parts(Pictures(), Pictures()), tmp_path)
    check_same_data(_parts(Pictures(), Pictures()), tmp_path)
    with pytest.raises(UserError, match=f"the data of .* has changed: {says}"):
        check_same_data(now, tmp_path)


@pytest.mark.parametrize("text", [None, "{", "[]", '{"train": {}}'])
def test_resuming_without_a_note_of_the_data_is_refused(text, tmp_path):
    if text is not None:
        (tmp_path / "data.json").write_text(text)
    with pytest.raises(UserError, match=r"data\.json is missing or damaged"):
        check_same_data(_parts(Pictures()), tmp_path)


@pytest.mark.parametrize("saved", [False, True])
def test_what_a_killed_replacement_left_is_settled_at_the_next_start(saved, tmp_path):
    run, old = tmp_path / "run", tmp_path / ".run.old"
    for folder, lr in ((old, 1.0), (run, 2.0)):
        recipe = get("digits")
        open_folder(folder, replace(recipe, optim=replace(recipe.optim, lr=lr)))
    if saved:
        (run / "checkpoints" / "step_00000001").mkdir(parents=True)
    settle(run)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert json.loads((run / "recipe.json").read_text())["optim"]["lr"] == (2.0 if saved else 1.0)


@pytest.mark.parametrize("closed", ["run", "run/checkpoints"])
def test_folder_that_may_not_be_written_is_refused_before_anything_starts(closed, tmp_path, monkeypatch):
    run = tmp_path / "run"
    open_folder(run, get("digits"))
    (run / "checkpoints" / "step_00000001").mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda place, how: place != tmp_path / closed)  # root may write anywhere
    with pytest.raises(UserError, match=f"{closed} cannot be written to"):
        check_folder(run, resume=True, overwrite=False)


def test_hidden_folder_that_is_not_a_run_waiting_is_left_alone(tmp_path):
    """Somebody's `.data.old` beside `data`, which is given as --out by mistake."""
    for name in ("data", ".data.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    settle(tmp_path / "data")
    assert (tmp_path / "data" / "1.png").exists()
    assert (tmp_path / ".data.old" / "1.png").exists()


def test_a_disk_that_is_full_at_the_start_is_named_with_the_file_and_leaves_no_folder(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as error, new_run(tmp_path / "run", get("digits")):
        pass
    assert error.value.filename == str(tmp_path / "run" / "recipe.json")
    assert not list(tmp_path.iterdir())
