import json
from dataclasses import replace

import pytest

from muntin.errors import UserError
from muntin.recipes import get
from muntin.recipes.folder import check_folder, check_same, open_folder


def test_free_name_is_accepted_and_not_created(tmp_path):
    check_folder(tmp_path / "new", resume=False, overwrite=False)
    assert not (tmp_path / "new").exists()


def test_folder_that_exists_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"exists; choose another --out"):
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
