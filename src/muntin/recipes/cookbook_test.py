import re
from dataclasses import replace

import pytest
import torch

from muntin import catalog
from muntin.errors import UserError
from muntin.models import SwinV2Config
from muntin.recipes import RECIPES, get
from muntin.recipes.resolve import resolve


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_says_what_a_reader_asks(name):
    recipe = get(name)
    assert recipe.name == name
    assert f"train {name}" in recipe.about.command
    assert recipe.about.hardware
    assert recipe.about.expected
    assert RECIPES[name].__doc__.splitlines()[0].endswith(".")
    if recipe.model.name:
        catalog.build_config(recipe.model.name, recipe.model.config())


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
    assert recipe.masking.target_window == 47
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
    config = catalog.build_config(recipe.model.name, recipe.model.config())
    first = config.window if isinstance(config.window[0], int) else config.window[0]
    assert (recipe.preprocess.image_size, first) == ((size, size), (window, window))
    assert (recipe.optim.layer_decay, recipe.model.drop_path_rate) == (layer_decay, drop_path_rate)


def test_swin_large_has_the_last_window_of_the_official_files():
    assert get("simmim_swin_large_800ep").model.window[-1] == (6, 6)  # the whole last map at 192 pixels
    assert get("simmim_finetune_swin_large_800ep").model.window[-1] == (7, 7)  # and at 224


FINETUNING = [name for name in RECIPES if "finetune" in name]


@pytest.mark.parametrize("name", FINETUNING)
def test_fine_tuning_names_its_weights_and_does_not_start_without(name):
    recipe = replace(get(name), data=replace(get(name).data, path="digits"))
    weights = recipe.about.starts_from
    with pytest.raises(UserError, match=rf"starts from trained weights \({re.escape(weights)}\): give --weights"):
        resolve(recipe)
    made_here = re.match(r"a run of (\w+)", weights)
    if made_here:
        assert get(made_here[1]).model.from_scratch
        assert f"--weights runs/{made_here[1]}" in recipe.about.command
    else:
        assert ".pth of the official hub" in weights or name == "finetune"


def test_only_fine_tuning_starts_from_weights():
    assert [name for name in RECIPES if get(name).about.starts_from] == FINETUNING
    assert [name for name in RECIPES if not get(name).model.from_scratch] == FINETUNING


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
    config = catalog.build_config(recipe.model.name, recipe.model.config())
    assert (recipe.schedule.epochs, recipe.schedule.warmup_epochs) == (epochs, 5)
    assert (recipe.optim.weight_decay, recipe.model.drop_path_rate) == (weight_decay, drop_path_rate)
    assert (recipe.preprocess.image_size, config.window) == ((image_size, image_size), (window, window))
    assert recipe.preprocess.crop_ratio == (0.0 if image_size == 384 else 0.875)
    if isinstance(config, SwinV2Config) and epochs == 30:
        assert config.pretrained_window == ((12, 12), (12, 12), (12, 12), (6, 6))


MODELS = {(recipe.model.name, str(recipe.model.config())): recipe for recipe in map(get, RECIPES) if recipe.model.name}


@pytest.mark.parametrize("recipe", MODELS.values(), ids=lambda recipe: recipe.name)
def test_model_of_a_recipe_can_be_built_and_sees_the_recipes_pictures(recipe):
    with torch.device("meta"):
        backbone = catalog.create_backbone(recipe.model.name, **recipe.model.config(), small_map="shrink")
        levels = backbone(torch.empty(1, 3, *recipe.preprocess.image_size)).levels
    assert len(levels) == len(backbone.config.depths)
    assert recipe.preprocess.image_size[0] % backbone.strides[-1] == 0
