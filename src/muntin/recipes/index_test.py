import re
from dataclasses import replace

import pytest
import torch

from muntin import catalog
from muntin.catalog import Fresh
from muntin.errors import UserError
from muntin.models import SwinV2Config
from muntin.recipes import RECIPES, get
from muntin.runs.resolve import resolve
from muntin.runs.trained import load_trained
from muntin.tasks.task import About
from muntin.weights.create import create_model


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_says_what_a_reader_asks(name):
    recipe = get(name)
    assert recipe.name == name
    assert f"train {name}" in recipe.about.command
    assert recipe.about.hardware
    assert recipe.about.expected
    assert RECIPES[name].__doc__.splitlines()[0].endswith(".")
    if recipe.model.name:
        catalog.build_config(recipe.model.name, recipe.model.config)


def test_unknown_recipe_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="unknown recipe 'swin_tinny': did you mean swin_tiny"):
        get("swin_tinny")


@pytest.mark.parametrize(
    ("name", "batch", "peak", "warmup_lr", "min_lr"),
    [  # swin_v1.md section 5, simmim.md sections 3 and 4: rates per 512 pictures, times batch / 512
        ("swin_tiny", 1024, 1e-3, 1e-6, 1e-5),
        ("swin_v2_base_window16", 1024, 1e-3, 1e-6, 1e-5),
        ("simmim_swin_base_100ep", 2048, 8e-4, 4e-6, 4e-5),
        ("simmim_finetune_swin_base_100ep", 2048, 5e-3, 1e-6, 1e-6),
        ("swin_base_finetune_384", 1024, 4e-5, 4e-8, 4e-7),
        ("swin_base_22k", 4096, 1e-3, 1e-6, 1e-5),
        ("swin_v2_large_window12_22k", 4096, 1e-3, 1e-6, 1e-5),
        ("swin_large_22k_finetune", 1024, 4e-5, 4e-8, 4e-7),
        ("swin_v2_base_window12to24_22k_finetune", 1024, 4e-5, 4e-8, 4e-7),
    ],
)
def test_learning_rates_are_the_papers_at_the_papers_batch(name, batch, peak, warmup_lr, min_lr):
    recipe = get(name)
    scale = recipe.optim.scale(batch)
    schedule = recipe.schedule.scaled(scale)
    assert recipe.training.batch_size == batch
    assert (recipe.optim.lr * scale, schedule.warmup_lr, schedule.min_lr) == pytest.approx((peak, warmup_lr, min_lr))


def test_simmim_for_800_epochs_drops_its_rate_once_at_700():
    recipe = get("simmim_swin_v2_base_800ep")
    rates = [recipe.schedule.lr(epoch * 10 + 1, 1.0, 10) for epoch in (10, 699, 700, 799)]
    assert rates == pytest.approx([1.0, 1.0, 0.1, 0.1])
    assert recipe.task.target_window == 47
    assert recipe.model.drop_path_rate == 0.1


@pytest.mark.parametrize(("size", "rate"), [("tiny", 0.2), ("small", 0.3), ("base", 0.5)])
def test_drop_path_grows_with_the_model(size, rate):
    names = [f"swin_{size}", f"swin_v2_{size}_window8", f"swin_v2_{size}_window16"]
    assert {get(name).model.drop_path_rate for name in names} == {rate}


@pytest.mark.parametrize(
    ("name", "size", "window", "layer_decay", "drop_path_rate"),
    [  # simmim.md section 4
        ("simmim_finetune_swin_base_100ep", 192, 6, 0.9, 0.1),
        ("simmim_finetune_swin_base_100ep_224", 224, 7, 0.9, 0.1),
        ("simmim_finetune_swin_base_800ep", 224, 7, 0.8, 0.1),
        ("simmim_finetune_swin_large_800ep", 224, 14, 0.7, 0.2),
        ("simmim_finetune_swin_v2_base_800ep", 224, 14, 0.75, 0.1),
    ],
)
def test_simmim_fine_tunes_as_published(name, size, window, layer_decay, drop_path_rate):
    recipe = get(name)
    config = catalog.build_config(recipe.model.name, recipe.model.config)
    first = config.window if isinstance(config.window[0], int) else config.window[0]
    assert (recipe.inputs.image_size, first) == ((size, size), (window, window))
    assert (recipe.optim.layer_decay, recipe.model.drop_path_rate) == (layer_decay, drop_path_rate)


def test_swin_large_has_the_last_window_of_the_official_files():
    assert get("simmim_swin_large_800ep").model.config["window"][-1] == (6, 6)  # the whole last map at 192 pixels
    assert get("simmim_finetune_swin_large_800ep").model.config["window"][-1] == (7, 7)  # and at 224


FINETUNING = [name for name in RECIPES if "finetune" in name]


@pytest.mark.parametrize("name", FINETUNING)
def test_fine_tuning_names_its_weights_and_does_not_start_without(name):
    recipe = replace(get(name), data=replace(get(name).data, path="digits"))
    weights = recipe.about.starts_from
    with pytest.raises(UserError, match=rf"starts from trained weights \({re.escape(weights)}\): give --weights"):
        resolve(recipe)
    made_here = re.match(r"a run of (\w+)", weights)
    if made_here:
        assert get(made_here[1]).model.from_scratch or made_here[1] in FINETUNING
        assert f"--weights runs/{made_here[1]}" in recipe.about.command
    else:
        assert ".pth of the official hub" in weights or name == "finetune"


DISTILLED = [name for name in RECIPES if get(name).task.kind == "distillation"]


def test_only_fine_tuning_and_distillation_depend_on_weights():
    assert [name for name in RECIPES if get(name).about.starts_from] == [
        name for name in RECIPES if name in {*FINETUNING, *DISTILLED}
    ]
    assert [name for name in RECIPES if not get(name).model.from_scratch] == FINETUNING


@pytest.mark.parametrize("name", DISTILLED)
def test_distillation_names_no_teacher_says_whose_its_number_is_and_asks_for_one(name):
    recipe = replace(get(name), data=replace(get(name).data, path="digits"))
    assert (recipe.task.teacher, recipe.task.teacher_weights) == ("", "")
    assert "teacher" in recipe.about.starts_from
    assert "--teacher-weights" in recipe.about.command
    with pytest.raises(UserError, match="learns from a teacher: give --teacher-weights"):
        recipe.task.build(Fresh(recipe.model.name), About(recipe.name, ("a", "b"), recipe.inputs), load_trained)


@pytest.mark.parametrize("name", RECIPES)
def test_first_line_and_expectation_name_the_same_number(name):
    said = re.search(r": ([\d.]+) top-1", RECIPES[name].__doc__)
    if said:
        assert re.search(rf"(^|\D){re.escape(said[1])} ", get(name).about.expected.replace("%", " %"))


@pytest.mark.parametrize(
    ("name", "epochs", "weight_decay", "drop_path_rate", "image_size", "window"),
    [  # swin_v1.md sections 3 and 5, swin_v2.md section 5
        ("swin_tiny_22k", 90, 0.05, 0.1, 224, 7),
        ("swin_large_22k", 90, 0.05, 0.2, 224, 7),
        ("swin_tiny_22k_finetune", 30, 1e-8, 0.1, 224, 7),
        ("swin_small_22k_finetune", 30, 1e-8, 0.2, 224, 7),
        ("swin_base_22k_finetune_384", 30, 1e-8, 0.2, 384, 12),
        ("swin_base_finetune_384", 30, 1e-8, 0.5, 384, 12),
        ("swin_v2_base_window12_22k", 90, 0.1, 0.2, 192, 12),
        ("swin_v2_large_window12to16_22k_finetune", 30, 1e-8, 0.2, 256, 16),
        ("swin_v2_large_window12to24_22k_finetune", 30, 1e-8, 0.2, 384, 24),
    ],
)
def test_22k_is_trained_and_fine_tuned_as_published(name, epochs, weight_decay, drop_path_rate, image_size, window):
    recipe = get(name)
    config = catalog.build_config(recipe.model.name, recipe.model.config)
    assert (recipe.schedule.epochs, recipe.schedule.warmup_epochs) == (epochs, 5)
    assert (recipe.optim.weight_decay, recipe.model.drop_path_rate) == (weight_decay, drop_path_rate)
    assert (recipe.inputs.image_size, config.window) == ((image_size, image_size), (window, window))
    assert recipe.inputs.crop_ratio == (0.0 if image_size == 384 else 0.875)
    if isinstance(config, SwinV2Config) and epochs == 30:
        assert config.pretrained_window == ((12, 12), (12, 12), (12, 12), (6, 6))


@pytest.mark.parametrize(
    ("name", "optimizer", "peak", "batch", "weight_decay", "epochs", "clip_grad"),
    [  # imagenet_recipes.md section 1 and the papers' specs, at the papers' batches
        ("vit_base_patch16", "adamw", 3e-3, 4096, 0.3, 300, 1),
        ("vit_large_patch16_21k", "adamw", 1e-3, 4096, 0.03, 90, 0),
        ("vit_base_patch16_finetune_384", "sgd", 0.03, 512, 0, 8, 1),
        ("deit_small", "adamw", 1e-3, 1024, 0.05, 300, 0),
        ("deit_base_distilled_finetune_384", "adamw", 5e-6, 512, 1e-8, 30, 0),
        ("deit3_small", "lamb", 4e-3, 2048, 0.05, 800, 1),
        ("deit3_huge", "lamb", 3e-3, 2048, 0.05, 800, 1),
        ("deit3_large_finetune", "adamw", 1e-5, 512, 0.1, 20, 0),
        ("deit3_base_21k", "lamb", 1e-3, 2048, 0.02, 240, 1),
        ("deit3_base_21k_finetune", "lamb", 3e-4, 2048, 0.02, 50, 1),
        ("convnext_tiny", "adamw", 4e-3, 4096, 0.05, 300, 0),
        ("convnext_xlarge_22k", "adamw", 4e-3, 4096, 0.05, 90, 0),
        ("convnext_base_22k_finetune", "adamw", 5e-5, 512, 1e-8, 30, 0),
        ("cvt_13", "adamw", 2e-3, 2048, 0.05, 300, 0),
        ("cvt_21", "adamw", 2e-3, 2048, 0.1, 300, 0),
        ("cvt_13_finetune_384", "sgd", 0.03, 512, 0, 8, 1),
        ("simmim_vit_base_800ep", "adamw", 4e-4, 2048, 0.05, 800, 5),
        ("simmim_finetune_vit_base_800ep", "adamw", 5e-3, 2048, 0.05, 100, 5),
    ],
)
def test_optimizer_is_the_papers(name, optimizer, peak, batch, weight_decay, epochs, clip_grad):
    recipe = get(name)
    optim = recipe.optim
    assert (optim.kind, optim.weight_decay, optim.clip_grad) == (optimizer, weight_decay, clip_grad)
    assert optim.lr * optim.scale(batch) == pytest.approx(peak)
    assert (recipe.training.batch_size, recipe.schedule.epochs) == (batch, epochs)


@pytest.mark.parametrize(
    ("name", "rates"),
    [  # of 100 updates an epoch: update 0, the first and the last of the peak's epoch, the last of all
        ("deit_small", [(0, 1e-6), (100, 1e-6), (599, 8.002e-4), (600, 1e-3)]),
        ("cvt_13", [(0, 1e-6), (100, 4.008e-4), (499, 1.6002e-3), (500, 2e-3)]),
        ("convnext_tiny", [(0, 0), (1999, 4e-3), (2000, 4e-3), (29999, 1e-6)]),
        ("vit_base_patch16", [(0, 0), (1600, 1.5e-3), (3200, 3e-3), (29999, 0)]),
        ("vit_base_patch16_21k", [(0, 0), (290, 1e-3), (8999, 1e-5)]),
        ("deit_base_finetune_384", [(0, 1e-6), (600, 5e-6), (2999, 5e-6)]),
    ],
)
def test_rate_moves_on_the_papers_clock(name, rates):
    recipe = get(name)
    scale = recipe.optim.scale(recipe.training.batch_size)
    schedule, peak = recipe.schedule.scaled(scale), recipe.optim.lr * scale
    measured = [schedule.lr(update, peak, 100) for update, _ in rates]
    assert measured == pytest.approx([rate for _, rate in rates], rel=2e-3, abs=1e-6)


def test_drop_path_layer_decay_and_ema_of_convnext_are_the_tables():
    def told(name):
        recipe = get(name)
        return recipe.model.drop_path_rate, recipe.optim.layer_decay, recipe.training.ema

    sizes = ("tiny", "small", "base", "large", "xlarge")
    assert [told(f"convnext_{size}") for size in sizes[:4]] == [(d, 1, 0.9999) for d in (0.1, 0.4, 0.5, 0.5)]
    assert [told(f"convnext_{size}_22k") for size in sizes] == [(d, 1, 0) for d in (0, 0, 0.1, 0.1, 0.2)]
    for suffix in ("", "_384"):
        found = [told(f"convnext_{size}_22k_finetune{suffix}") for size in sizes]
        assert found == [(d, 0.8, 0.9999 if d == 0.4 else 0) for d in (0, 0.1, 0.2, 0.3, 0.4)]
    assert [told(f"convnext_{size}_finetune_384") for size in ("base", "large")] == [(0.8, 0.7, 0), (0.95, 0.7, 0)]


def test_deit_3_is_trained_on_the_sizes_and_with_the_drop_path_of_its_commands():
    def told(suffix):
        found = [get(f"deit3_{size}{suffix}") for size in ("base", "large", "huge")]
        return [(recipe.inputs.image_size[0], recipe.model.drop_path_rate) for recipe in found]

    assert told("") == [(192, 0.2), (192, 0.45), (160, 0.6)]
    assert told("_finetune") == [(224, 0.2), (224, 0.45), (224, 0.55)]
    assert told("_21k") == [(224, 0.1), (224, 0.3), (128, 0.5)]
    assert told("_21k_finetune") == [(224, 0.15), (224, 0.4), (224, 0.45)]
    for suffix in ("_finetune_384", "_21k_finetune_384"):
        found = [get(f"deit3_{size}{suffix}").model.drop_path_rate for size in ("small", "base", "large")]
        assert found == [0.0, 0.15, 0.4]


def test_pictures_are_repeated_where_the_papers_do():
    repeated = {name for name in RECIPES if get(name).augment.repeats == 3}
    deit3 = {f"deit3_{size}" for size in ("small", "base", "large", "huge")}
    assert {name for name in repeated if not name.startswith("deit_")} == {"cvt_21", *deit3}
    assert {name for name in RECIPES if name.startswith("deit_")} <= repeated


def test_three_augment_goes_with_binary_cross_entropy_on_1k_and_without_on_21k():
    assert {name for name in RECIPES if "binary_cross_entropy" in str(get(name).task)} == {
        name for name in RECIPES if get(name).augment.three_augment and "21k" not in name
    }


MODELS = {(recipe.model.name, str(recipe.model.config)): recipe for recipe in map(get, RECIPES) if recipe.model.name}


@pytest.mark.parametrize("recipe", MODELS.values(), ids=lambda recipe: recipe.name)
def test_model_of_a_recipe_can_be_built_and_sees_the_recipes_pictures(recipe):
    with torch.device("meta"):
        model = create_model(recipe.model.name, **recipe.model.config, in_chans=len(recipe.inputs.mean))
        levels = model.backbone(torch.empty(1, model.backbone.config.in_chans, *recipe.inputs.image_size)).levels
    assert len(levels) == len(model.backbone.strides)
    if "huge" not in recipe.name:  # DeiT III-H: 160 and 128 pixels, patches of 14; what is left over is not seen
        assert all(side % s == 0 for side, s in zip(recipe.inputs.image_size, model.backbone.strides[-1]))
