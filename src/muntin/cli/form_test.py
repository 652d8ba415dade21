"""Fields of a task and of a model on the command line."""

from dataclasses import fields, is_dataclass, replace

import pytest

from muntin import catalog
from muntin.cli import train
from muntin.cli.main import main
from muntin.errors import UserError
from muntin.recipes import RECIPES, ModelChoice, Recipe, get
from muntin.recipes.typed import field_types
from muntin.tasks import CHOICES, ClassificationChoice, DistillationChoice, SimMIMChoice
from muntin.weights.create import create_model
from muntin.weights.folder import save_model


def read(name: str, *arguments: str) -> Recipe:
    recipe, _ = train.resolve([name, *arguments])
    return recipe


def refused(name: str, *arguments: str) -> str:
    with pytest.raises(UserError) as caught:
        read(name, *arguments)
    return str(caught.value)


@pytest.mark.parametrize("name", RECIPES)
def test_nothing_typed_is_the_recipe_itself(name):
    assert read(name) == get(name)


@pytest.mark.parametrize("flag", ["--window", "--model.window", "--model.window=4"])
def test_a_field_of_the_models_config_is_typed_by_its_family(flag):
    values = ["4"] if "=" in flag else ["4", "4"]
    assert read("swin_tiny", flag, *values).model.config == {"window": (4, 4)}


def test_windows_may_be_one_a_stage():
    flags = ("--depths", "1", "1", "--heads", "1", "2", "--window", "4", "4", "2", "2")
    config = {"depths": (1, 1), "heads": (1, 2), "window": ((4, 4), (2, 2))}
    assert read("swin_tiny", *flags).model.config == config


def test_only_what_is_typed_is_set_and_none_takes_it_back():
    assert read("digits", "--dim", "32").model == get("digits").model.with_config(dim=32)
    assert read("digits", "--dim", "None").model == get("digits").model.with_config(dim=None)
    assert read("simmim_vit_base_800ep", "--no-shared-bias").model.config == {"shared_bias": False}
    assert read("vit_base_patch16", "--gelu", "erf").model.config == {"gelu": "erf"}


def test_a_value_of_the_wrong_type_is_refused():
    assert "window is 'x'; it must be a whole number or None (muntin train digits --help)" in refused(
        "digits", "--window", "3", "x"
    )
    assert "gelu is 'elu'; it must be tanh or erf or None" in refused("vit_base_patch16", "--gelu", "elu")


def test_another_model_brings_its_fields_and_leaves_what_it_cannot_have():
    said = refused("digits", "--model", "vit_tiny_patch16")
    assert "heads is (3, 6) in the recipe 'digits', which a vit_tiny_patch16 cannot have: give --heads too" in said
    flags = ("--depths", "None", "--window", "None", "--heads", "2", "--depth", "3")
    model = read("digits", "--model", "vit_tiny_patch16", *flags).model
    assert model == ModelChoice(name="vit_tiny_patch16", config={"patch": (4, 4), "dim": 48, "heads": 2, "depth": 3})
    assert read("digits", "--model", "swin_tiny").model == replace(get("digits").model, name="swin_tiny")
    assert "did you mean swin_tiny" in refused("digits", "--model", "swin_tinny")


def test_a_model_that_weights_bring_is_asked_for_its_fields(tmp_path):
    config = {"in_chans": 1, "dim": 16, "depth": 1, "heads": 2, "grid": (1, 1)}
    model = create_model("vit_tiny_patch16", num_classes=2, **config)
    pictures = get("digits").inputs.to_dict()
    save_model(tmp_path, "vit_tiny_patch16", model, kind="classifier", classes=("a", "b"), inputs=pictures)
    found = read("finetune", "--weights", str(tmp_path), "--heads", "4").model
    assert (found.name, found.config) == ("", {"heads": 4})
    said = refused("finetune", "--weights", str(tmp_path), "--window", "4", "4")
    assert "--window is a field of swin, swin_v2; vit_tiny_patch16 has no such field" in said
    assert "heads is '(1,'; it must be" in refused("finetune", "--weights", str(tmp_path), "--heads", "(1,")


def test_without_a_model_its_fields_are_not_known():
    assert "--window is a field of swin, swin_v2; give --model or --weights, too" in refused(
        "finetune", "--window", "4", "4"
    )
    assert read("finetune", "--weights", "gone").model.weights == "gone"
    assert "--window is a field of swin, swin_v2; there is no model at gone" in refused(
        "finetune", "--weights", "gone", "--window", "4", "4"
    )


def test_fields_of_the_task_by_full_and_last_name():
    assert read("digits_simmim", "--mask-patch", "8", "--task.mask_ratio=0.5").task == SimMIMChoice(
        mask_patch=8, mask_ratio=0.5
    )
    taught = read("digits_distil", "--teacher-weights", "runs/x", "--no-token", "--imitate", "soft")
    assert taught.task == DistillationChoice(teacher_weights="runs/x", token=False, imitate="soft")


def test_another_task_keeps_what_both_have():
    flags = ("--loss", "binary_cross_entropy", "--smoothing", "0")
    assert read("digits", *flags).task == ClassificationChoice(loss="binary_cross_entropy")
    taught = read("deit3_small", "--task", "distillation", "--teacher", "deit_tiny")
    assert taught.task == DistillationChoice(loss="binary_cross_entropy", teacher="deit_tiny")
    assert read("digits", "--task=simmim", "--smoothing", "0").task == SimMIMChoice()
    assert "kind is 'simmin'; it must be classification, distillation or simmim" in refused(
        "digits", "--task", "simmin"
    )


def test_a_field_of_another_task_is_refused():
    said = refused("digits", "--mask-patch", "8")
    assert said == (
        "--mask-patch is a field of the task simmim, but this task is classification: leave it out "
        "(muntin train digits --help)"
    )
    assert "--loss is a field of the task classification or distillation" in refused("pretrain", "--loss", "x")
    assert "--no-token is a field of the task distillation" in refused("digits", "--no-token")


@pytest.mark.parametrize(
    ("recipe", "before", "now"),
    [
        ("digits", "--preprocess.image-size 32 32", "--inputs.image-size 32 32"),
        ("digits_simmim", "--masking.mask_patch 8", "--task.mask-patch 8"),
        ("digits_distil", "--distillation.kind soft", "--task.imitate soft"),
        ("digits_distil", "--distillation.alpha=0.25", "--task.alpha 0.25"),
    ],
)
def test_flags_of_before_still_work(recipe, before, now):
    assert read(recipe, *before.split()) == read(recipe, *now.split()) != get(recipe)


def test_fields_as_json_are_answered_with_the_flag_of_today():
    said = refused("digits", "--fields", '{"gelu": "erf"}')
    assert "--fields is gone: every field has a flag of its own, such as --gelu erf" in said


def test_help_shows_what_this_task_and_model_have_with_docs(capsys):
    assert main(["train", "digits_simmim", "--help"]) == 0
    shown = capsys.readouterr().out
    for words in (
        "--task.kind {classification,distillation,simmim}",
        "--task.mask-patch INT",
        "Side of a masked square",
    ):
        assert words in shown
    for words in ("--model.window", "Tokens along each axis of a window"):
        assert words in shown
    for words in ("teacher", "--task.loss", "--model.depth ", "in-chans", "--model.config"):
        assert words not in shown


def test_last_names_of_config_fields_hide_no_other_field():
    """A field of a family's config that ended like one of all recipes would take its short flag away."""
    parts = [part for part in field_types(Recipe).values() if is_dataclass(part)]
    common = {f.name for part in [Recipe, *parts, *CHOICES.values()] for f in fields(part)}
    for family in catalog.FAMILIES.values():
        assert not {f.name for f in fields(family.config)} & common
