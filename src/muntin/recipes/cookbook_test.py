import pytest

from muntin import catalog
from muntin.errors import UserError
from muntin.recipes import RECIPES, get


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
    assert (recipe.preprocess.image_size, config.window) == ((size, size), (window, window))
    assert (recipe.optim.layer_decay, recipe.model.drop_path_rate) == (layer_decay, drop_path_rate)


@pytest.mark.parametrize("name", [name for name in RECIPES if "finetune" in name])
def test_fine_tuning_names_its_weights_and_does_not_start_without(name):
    recipe = get(name)
    assert not recipe.model.from_scratch
    weights = recipe.about.command.partition("--weights runs/")[2].split()[0]
    assert weights in RECIPES or weights == "pretrained"  # of `pretrain`
