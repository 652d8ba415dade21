from dataclasses import replace

import pytest
import torch

from muntin.errors import UserError
from muntin.recipes import get
from muntin.runs.build import build
from muntin.runs.resolve import resolve, resolve_again, with_settings
from muntin.weights.create import create_model
from muntin.weights.folder import save_model


def choose(recipe, **model):
    return replace(recipe, data=replace(recipe.data, path="digits"), model=replace(recipe.model, **model))


@pytest.fixture
def weights(tmp_path):
    """A grey Swin V2 whose windows were enlarged after training."""
    model = create_model(
        "swin_v2_tiny_window8", num_classes=2, in_chans=1, dim=16, depths=(1, 1), heads=(1, 2), window=(4, 4)
    )
    model.backbone.set_window((6, 6))
    preprocess = get("digits").inputs.to_dict()
    save_model(tmp_path, "swin_v2_tiny_window8", model, kind="classifier", classes=("a", "b"), inputs=preprocess)
    return str(tmp_path)


def test_recipe_without_pictures_is_refused():
    with pytest.raises(UserError, match="'train' needs pictures"):
        resolve(get("train"))


def test_fine_tuning_without_weights_is_refused_unless_scratch_is_asked_for():
    with pytest.raises(UserError, match="starts from trained weights"):
        resolve(choose(get("digits_finetune")))
    assert resolve(choose(get("digits_finetune"), from_scratch=True)).model.name == "swin_v2_tiny_window8"


def test_recipe_without_model_and_weights_is_refused():
    with pytest.raises(UserError, match="no model"):
        resolve(choose(get("finetune"), from_scratch=True))


def test_model_is_that_of_the_weights_with_window_and_scale(weights):
    recipe = replace(get("finetune"), inputs=get("digits").inputs)
    model = resolve(choose(recipe, weights=weights)).model
    sizes = {"dim": 16, "depths": (1, 1), "heads": (1, 2)}
    assert model.name == "swin_v2_tiny_window8"
    assert model.config == sizes | {"window": (6, 6), "pretrained_window": ((4, 4), (4, 4))}
    assert model.drop_path_rate == get("finetune").model.drop_path_rate


def test_what_the_recipe_sets_wins_over_the_weights(weights):
    recipe = replace(get("finetune"), inputs=get("digits").inputs)
    config = resolve(choose(recipe, weights=weights, config={"window": (5, 5), "patch": (2, 2)})).model.config
    assert (config["window"], config["patch"], config["dim"]) == ((5, 5), (2, 2), 16)
    assert config["pretrained_window"] == ((4, 4), (4, 4))


@pytest.mark.parametrize(("size", "trained"), [(32, ((4, 4), (4, 4))), (16, ((4, 4), (2, 2)))])
@pytest.mark.parametrize("name", ["", "swin_v2_tiny_window8"])
def test_log_cpb_keeps_the_windows_it_was_really_trained_with(name, size, trained, tmp_path):
    config = {"dim": 16, "depths": (1, 1), "heads": (1, 2)}
    model = create_model("swin_v2_tiny_window8", num_classes=2, window=(4, 4), **config)
    pictures = replace(get("finetune").inputs, image_size=(size, size))
    save_model(
        tmp_path, "swin_v2_tiny_window8", model, kind="classifier", classes=("a", "b"), inputs=pictures.to_dict()
    )
    as_trained = choose(get("finetune"), name=name, weights=str(tmp_path), config={"window": (4, 4)} | config)
    as_trained = replace(as_trained, inputs=pictures)
    assert "pretrained_window" not in resolve(as_trained).model.config
    larger = replace(as_trained, model=as_trained.model.with_config(window=(6, 6)))
    larger = replace(larger, inputs=replace(pictures, image_size=(96, 96)))
    assert resolve(larger).model.config["pretrained_window"] == trained
    own = replace(larger, model=larger.model.with_config(pretrained_window=((3, 3), (3, 3))))
    assert resolve(own).model.config["pretrained_window"] == ((3, 3), (3, 3))


def test_weights_of_other_channels_bring_mean_and_std(weights):
    digits = get("digits").inputs
    found = resolve(choose(get("finetune"), weights=weights)).inputs
    assert found == replace(get("finetune").inputs, mean=digits.mean, std=digits.std)


def test_weights_of_other_channels_are_refused_where_the_recipe_has_a_mean_of_its_own(weights):
    recipe = get("finetune")
    recipe = replace(recipe, inputs=replace(recipe.inputs, mean=(0.5,) * 3, std=(0.5,) * 3))
    with pytest.raises(UserError, match=r"takes 1 channel\(s\).* have 3"):
        resolve(choose(recipe, weights=weights))


@pytest.fixture
def vit_weights(tmp_path):
    """A small grey ViT with the exact GELU, unlike the published one."""
    model = create_model(
        "vit_tiny_patch16", num_classes=10, in_chans=1, dim=16, depth=1, heads=2, grid=(1, 1), gelu="erf"
    )
    preprocess = get("digits").inputs.to_dict()
    save_model(tmp_path, "vit_tiny_patch16", model, kind="classifier", classes=tuple("0123456789"), inputs=preprocess)
    return str(tmp_path)


def vit(weights, **fields):
    return choose(
        get("digits"), name="vit_tiny_patch16", weights=weights, config={"dim": 16, "depth": 1, "heads": 2} | fields
    )


def test_a_field_that_the_weights_decide_is_not_silently_overruled(vit_weights):
    with pytest.raises(UserError, match=r"--gelu is tanh, and .* needs erf; leave it out"):
        build(resolve(vit(vit_weights, gelu="tanh")), torch.device("cpu"))
    assert (
        build(resolve(vit(vit_weights, gelu="erf")), torch.device("cpu")).task.parts()["backbone"].config.gelu == "erf"
    )


def test_a_run_goes_on_with_what_its_weights_told(vit_weights):
    recipe = resolve(vit(vit_weights))
    begun = with_settings(recipe, build(recipe, torch.device("cpu")).task.parts()["backbone"])
    assert begun.model.config["gelu"] == "erf"
    assert resolve_again(vit(vit_weights), begun) == resolve_again(vit(vit_weights, gelu="erf"), begun) == begun
