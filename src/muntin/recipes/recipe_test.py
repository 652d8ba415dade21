import json
from dataclasses import dataclass, replace

import pytest

from muntin.engine import Training
from muntin.errors import UserError
from muntin.recipes import RECIPES, ModelChoice, Recipe, differences, from_json, get, read_recipe, recipe_hash, to_json


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_survives_json(name):
    assert from_json(to_json(get(name))) == get(name)


def changed(recipe="digits", **values) -> str:
    """A recipe of the digits as JSON with some fields of its groups replaced: optim={"lr": 1}."""
    tree = json.loads(to_json(get(recipe)))
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
        ({"inputs": {"image_size": [32]}}, "inputs.image_size is [32]"),
        ({"augment": {"flip": 2.0}}, "flip is 2.0"),
        ({"model": {"drop_path_rate": 1.0}}, "drop_path_rate is 1.0"),
        ({"model": {"dropout": 1.0}}, "dropout is 1.0; it must be at least 0 and below 1"),
        ({"model": {"head_scale": -1.0}}, "head_scale is -1.0; it must be at least 0"),
        ({"model": {"config": {"depths": [2, "2"]}}}, "model.config.depths is (2, '2'); it must be a tuple with one"),
        ({"model": {"config": {"window": 3.5}}}, "model.config.window is 3.5; it must be 1 to 3 whole numbers"),
        ({"model": {"config": {"mlp_ratio": "4"}}}, "model.config.mlp_ratio is '4'; it must be a number from 0"),
        (
            {"model": {"config": {"small_map": "srhink"}}},
            "unknown model.config.small_map 'srhink': did you mean shrink",
        ),
        ({"model": {"config": {"patch": [0, 4]}}}, "model.config.patch is (0, 4); it must be 1 to 3 whole numbers"),
        ({"model": {"config": {"window": [[3, 3], [3, 0]]}}}, "model.config.window is ((3, 3), (3, 0))"),
        ({"model": {"config": {"depths": []}}}, "model.config.depths is (); it must be a tuple with one entry a stage"),
        ({"model": {"config": {"heads": 0}}}, "model.config.heads is 0"),
        ({"model": {"config": {"dim": 0}}}, "model.config.dim is 0; it must be a whole number from 1"),
        ({"model": {"config": {"windw": [3, 3]}}}, "'model.config.windw': did you mean model.config.window"),
        ({"model": {"config": {"depth": 3}}}, "unknown field of swin_v2_tiny_window8 'model.config.depth': did you"),
        ({"model": {"config": {"in_chans": 1}}}, "model.config.in_chans follows from the pictures"),
        ({"model": {"config": [3]}}, "model.config is [3]"),
        ({"data": {"val_share": 1.0}}, "val_share is 1.0"),
        ({"data": {"limit": -1}}, "limit is -1"),
        ({"data": {"split_seed": -1}}, "split_seed is -1"),
        ({"data": {"val_batch_size": 0}}, "val_batch_size is 0"),
        ({"task": {"kind": "simmin"}}, 'task.kind is "simmin"; it must be classification, distillation or simmim'),
        ({"task": {"kind": "simmim"}}, "unknown field 'task.loss'"),
        ({"task": {"loss": "binary_cross_entropy"}}, "smoothing 0.1 gives each class one: set --smoothing 0"),
        ({"inputs": {"std": [0.5, 0.5]}}, "mean has 1 and std 2 values"),
    ],
)
def test_wrong_field_is_named(values, message):
    with pytest.raises(UserError) as caught:
        from_json(changed(**values))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("recipe", "fields", "message"),
    [
        ("digits_distil", {"alpha": 1.5, "temperature": 0.0}, "alpha is 1.5; it must be at least 0 and at most 1; tem"),
        ("digits_distil", {"temperature": 0.0}, "temperature is 0.0; it must be above 0"),
        ("digits_distil", {"imitate": "warm"}, 'task.imitate is "warm"'),
        ("digits_simmim", {"mask_ratio": 1.0}, "mask_ratio is 1.0"),
        ("digits_simmim", {"mask_patch": 0}, "mask_patch is 0"),
        ("digits_simmim", {"target_window": 8}, "target_window is 8; it must be 0 or odd"),
    ],
)
def test_wrong_field_of_a_task_is_named(recipe, fields, message):
    with pytest.raises(UserError) as caught:
        from_json(changed(recipe, task=fields))
    assert message in str(caught.value)


def test_a_format_that_is_not_known_is_refused():
    tree = json.loads(to_json(get("digits")))
    with pytest.raises(UserError, match=r'here is of the format "muntin recipe/3" and this muntin reads'):
        from_json(json.dumps(tree | {"format": "muntin recipe/3"}), "here")
    del tree["format"]
    with pytest.raises(UserError, match=r'here: format is missing; add "format": "muntin recipe/2"'):
        from_json(json.dumps(tree), "here")


@pytest.mark.parametrize("window", [None, (3, 4), ((4, 4), (2, 2))])
def test_window_is_one_or_one_a_stage(window):
    recipe = get("digits")
    recipe = replace(recipe, model=recipe.model.with_config(window=window))
    assert from_json(to_json(recipe)) == recipe


def test_fields_of_a_config_are_those_of_the_models_family():
    assert ModelChoice(name="vit_tiny_patch16", config={"heads": 3}).config == {"heads": 3}
    with pytest.raises(UserError, match=r"model\.config\.heads is \(3, 6\); it must be a whole number from 1"):
        ModelChoice(name="vit_tiny_patch16", config={"heads": (3, 6)})


def test_a_field_of_a_config_is_set_and_taken_back():
    model = ModelChoice(name="vit_tiny_patch16", config={"heads": 3})
    assert model.with_config(mlp_ratio=2).config == {"heads": 3, "mlp_ratio": 2.0}
    assert model.with_config(heads=None).config == {}


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
