import json
from dataclasses import dataclass, replace

import pytest

from muntin.engine import Training
from muntin.errors import UserError
from muntin.recipes import RECIPES, from_json, get, read_recipe, to_json
from muntin.recipes.recipe import Recipe, differences, recipe_hash


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_survives_json(name):
    assert from_json(to_json(get(name))) == get(name)


def changed(loss="cross_entropy", **values) -> str:
    """The digits recipe as JSON with some fields of its groups replaced: optim={"lr": 1}."""
    tree = json.loads(to_json(get("digits"))) | {"loss": loss}
    for group, fields in values.items():
        tree[group] |= fields
    return json.dumps(tree)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"optim": {"lrr": 1.0}}, "unknown field 'optim.lrr': did you mean optim.lr"),
        ({"optim": {"lr": "fast"}}, 'optim.lr is "fast"; it must be float'),
        ({"training": {"seed": 1.5}}, "training.seed is 1.5; it must be int"),
        ({"training": {"compile": 1}}, "training.compile is 1; it must be bool"),
        ({"schedule": {"kind": "cosin"}}, "schedule.kind"),
        ({"preprocess": {"image_size": [32]}}, "preprocess.image_size is [32]"),
        ({"model": {"depths": [2, "2"]}}, "model.depths is"),
        ({"augment": {"flip": 2.0}}, "flip is 2.0"),
        ({"model": {"drop_path_rate": 1.0}}, "drop_path_rate is 1.0"),
        ({"model": {"patch": [0, 4]}}, "patch is (0, 4); it must be positive"),
        ({"model": {"window": [-3, 3]}}, "window is (-3, 3)"),
        ({"model": {"window": [[3, 3], [3, 0]]}}, "window is ((3, 3), (3, 0))"),
        ({"model": {"window": [3]}}, "model.window is [3]; it must be tuple[int, int] | tuple[tuple[int, int], ...]"),
        ({"model": {"depths": []}}, "depths is ()"),
        ({"model": {"depths": [2]}}, "need one number a stage"),
        ({"model": {"heads": [3, 0]}}, "heads is (3, 0)"),
        ({"model": {"dim": 0}}, "dim is 0"),
        ({"model": {"heads": 0}}, "heads is 0"),
        ({"model": {"depth": -1}}, "depth is -1"),
        (
            {"model": {"dims": [8, 16, 32]}},
            "dims (8, 16, 32) and depths (2, 2) and heads (3, 6) need one number a stage",
        ),
        ({"model": {"dropout": 1.0}}, "dropout is 1.0; it must be at least 0 and below 1"),
        ({"model": {"head_scale": -1.0}}, "head_scale is -1.0; it must be at least 0"),
        (
            {"distillation": {"alpha": 1.5, "temperature": 0.0}},
            "alpha is 1.5; it must be at least 0 and at most 1; tem",
        ),
        ({"distillation": {"temperature": 0.0}}, "temperature is 0.0; it must be above 0"),
        ({"distillation": {"kind": "warm"}}, 'distillation.kind is "warm"'),
        ({"augment": {"smoothing": 0.1}, "loss": "binary_cross_entropy"}, "smoothing 0.1 gives each class one"),
        ({"data": {"val_share": 1.0}}, "val_share is 1.0"),
        ({"data": {"limit": -1}}, "limit is -1"),
        ({"data": {"split_seed": -1}}, "split_seed is -1"),
        ({"data": {"val_batch_size": 0}}, "val_batch_size is 0"),
        ({"masking": {"mask_ratio": 1.0}}, "mask_ratio is 1.0"),
        ({"masking": {"mask_patch": 0}}, "mask_patch is 0"),
        ({"masking": {"target_window": 8}}, "target_window is 8; it must be 0 or odd"),
        ({"preprocess": {"std": [0.5, 0.5]}}, "mean has 1 and std 2 values"),
    ],
)
def test_wrong_field_is_named(values, message):
    with pytest.raises(UserError) as caught:
        from_json(changed(**values))
    assert message in str(caught.value)


@pytest.mark.parametrize("window", [None, (3, 4), ((4, 4), (2, 2))])
def test_window_is_one_or_one_a_stage(window):
    recipe = get("digits")
    recipe = replace(recipe, model=replace(recipe.model, window=window))
    assert from_json(to_json(recipe)) == recipe


@pytest.mark.parametrize("heads", [None, 3, (3, 6)])
def test_heads_are_one_number_or_one_a_stage(heads):
    recipe = get("digits")
    recipe = replace(recipe, model=replace(recipe.model, heads=heads))
    assert from_json(to_json(recipe)) == recipe


def test_whole_number_serves_where_a_float_is_meant():
    assert from_json(changed(optim={"lr": 1})).optim.lr == 1.0


def test_field_left_out_keeps_its_default_and_one_without_default_is_missed():
    tree = json.loads(to_json(get("digits")))
    del tree["training"]["accumulate"]
    assert from_json(json.dumps(tree)) == get("digits")
    del tree["data"]["path"]
    with pytest.raises(UserError, match=r"data\.path is missing"):
        from_json(json.dumps(tree))


@pytest.mark.parametrize("text", ["{", "[]", "3"])
def test_text_that_is_no_recipe_is_refused(text):
    with pytest.raises(UserError, match="here"):
        from_json(text, "here")


def test_recipe_is_read_from_a_run_folder_or_its_file(tmp_path):
    (tmp_path / "recipe.json").write_text(to_json(get("train")))
    assert read_recipe(tmp_path) == read_recipe(tmp_path / "recipe.json") == get("train")
    with pytest.raises(UserError, match="no recipe at"):
        read_recipe(tmp_path / "other")


def test_differences_are_named_in_full():
    recipe = get("digits")
    other = replace(recipe, optim=replace(recipe.optim, lr=1.0), name="other")
    assert differences(recipe, other) == ["name", "optim.lr"]
    assert differences(recipe, recipe) == []


def test_hash_is_that_of_what_a_resumed_run_may_not_change():
    recipe = get("digits")
    workers = replace(recipe, training=replace(recipe.training, workers=recipe.training.workers + 1))
    about = replace(recipe, about=replace(recipe.about, notes="said in other words"))
    assert recipe_hash(workers) == recipe_hash(about) == recipe_hash(from_json(to_json(recipe))) == recipe_hash(recipe)
    assert recipe_hash(replace(recipe, optim=replace(recipe.optim, lr=1.0))) != recipe_hash(recipe)


def test_a_field_that_a_later_version_adds_changes_no_hash(monkeypatch):
    @dataclass(frozen=True, kw_only=True)
    class Later(Training):
        novelty: int = 0

    recipe = get("digits")
    before = recipe_hash(recipe)
    monkeypatch.setitem(Recipe.__annotations__, "training", Later)
    later = replace(recipe, training=Later(**vars(recipe.training)))
    assert recipe_hash(later) == before
    assert recipe_hash(replace(later, training=replace(later.training, novelty=1))) != before
