import json

import pytest
import torch

from muntin.errors import UserError
from muntin.files.sums import FORMAT, sealed
from muntin.formats import convnext, cvt, swin, vit
from muntin.formats.description import Description, describe

FILES = {
    **dict.fromkeys(("swin", "swinv2"), swin.FILES),
    **dict.fromkeys(("vit", "deit", "vit_mae"), vit.FILES),
    "convnext": convnext.FILES,
    "cvt": cvt.FILES,
}


def tensors_of(stages: int) -> dict[str, torch.Tensor]:
    return {f"backbone.stages.{stage}.0.norm1.weight": torch.ones(1) for stage in range(stages)}


def described(folder, content, stages: int = 2) -> Description:
    (folder / "config.json").write_text(json.dumps(content))
    files = FILES[content.get("model_type", "swin")] if isinstance(content, dict) else swin.FILES
    return describe(folder / "model.safetensors", files, tensors_of(stages))


def ours(**content) -> dict:
    return sealed({"format": FORMAT, **content})


def test_our_description_tells_windows_and_scale(tmp_path):
    config = {"window": [[7, 7], [4, 5]], "pretrained_window": [[12, 12], [6, 6]]}
    assert described(tmp_path, ours(config=config)) == Description(
        settings={"window": ((7, 7), (4, 5)), "pretrained_window": ((12, 12), (6, 6))}
    )
    trained = ours(config=config, trained_windows=[[7, 7], [3, 3]])
    assert described(tmp_path, trained).settings.get("window") == ((7, 7), (3, 3))


def test_transformers_tells_the_scale_as_one_side_a_stage(tmp_path):
    assert described(tmp_path, {"pretrained_window_sizes": [12, 6]}).settings.get("pretrained_window") == (
        (12, 12),
        (6, 6),
    )
    assert described(tmp_path, {"pretrained_window_sizes": [0, 0]}).settings.get("pretrained_window") is None


def test_transformers_tells_the_windows_of_v2_which_small_maps_shrink(tmp_path):
    published = {"model_type": "swinv2", "image_size": 192, "patch_size": 4, "window_size": 12}
    published |= {"pretrained_window_sizes": [0, 0, 0, 0]}
    expected = ((12, 12), (12, 12), (12, 12), (6, 6))
    assert described(tmp_path, published, stages=4) == Description(image_size=(192, 192), settings={"window": expected})
    assert described(tmp_path, published | {"image_size": [192, 256]}, stages=4).settings.get("window") == expected
    for other in ({"model_type": "swin"}, {"window_size": "12"}, {"patch_size": 0}, {"patch_size": 64}):
        assert described(tmp_path, published | other, stages=4).settings.get("window") is None


@pytest.mark.parametrize(
    "value", [7, [[7, 7]], [7.0, 7], [[7], [7]], "77", [[0, 7], [7, 7]], None, [True, True]], ids=str
)
def test_what_are_no_sizes_one_a_stage_tells_nothing(tmp_path, value):
    assert described(tmp_path, ours(config={"pretrained_window": value, "window": value})) == Description()
    assert described(tmp_path, ours(config=value)) == Description()
    assert described(tmp_path, {"pretrained_window_sizes": value}) == Description()


def test_no_description_and_that_of_other_weights_tell_nothing(tmp_path):
    assert describe(tmp_path / "model.safetensors", swin.FILES, tensors_of(4)) == Description()
    described(tmp_path, {"pretrained_window_sizes": [12, 6]})
    assert describe(tmp_path / "official.pth", swin.FILES, tensors_of(2)) == Description()


def test_a_damaged_description_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="own checksum differs"):
        described(tmp_path, ours(config={}) | {"kind": "classifier"})
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="missing or damaged"):
        describe(tmp_path / "model.safetensors", swin.FILES, tensors_of(2))


@pytest.mark.parametrize("kind", ["vit", "deit", "vit_mae", "convnext", "swin", "swinv2"])
def test_an_activation_that_would_load_and_give_other_numbers_is_refused(tmp_path, kind):
    for activation in ("relu", "quick_gelu", ["gelu"], None):
        with pytest.raises(UserError, match=rf"of a {kind} with hidden_act .* other numbers"):
            described(tmp_path, {"model_type": kind, "hidden_act": activation})
    if kind in ("convnext", "swin", "swinv2"):
        with pytest.raises(UserError, match="gelu_new"):
            described(tmp_path, {"model_type": kind, "hidden_act": "gelu_new"})
    assert described(tmp_path, {"model_type": kind, "hidden_act": "gelu"}).classes == ()


def test_transformers_tells_what_no_tensor_does(tmp_path):
    vit = {"model_type": "vit", "hidden_act": "gelu_new", "num_attention_heads": 6}
    assert described(tmp_path, vit).settings == {"gelu": "tanh", "heads": 6}
    assert described(tmp_path, {"model_type": "deit", "num_attention_heads": True}).settings == {"gelu": "erf"}
    cvt = {"model_type": "cvt", "num_heads": [1, 2], "stride_kv": [2, 1], "patch_stride": None, "patch_padding": [None]}
    assert described(tmp_path, cvt).settings == {"heads": (1, 2), "kv_stride": (2, 1)}


@pytest.mark.parametrize(
    ("told", "pixels"),
    [
        ({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}, ((0.5,) * 3, (0.5,) * 3)),
        ({"image_mean": [0.5], "image_std": [0.5, 0.5]}, None),
        ({"image_mean": 0.5, "image_std": 0.5}, None),
        ({"image_mean": ["0.5"], "image_std": [True]}, None),
        ({}, None),
    ],
    ids=str,
)
def test_the_preprocessor_of_transformers_tells_its_pixels(tmp_path, told, pixels):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(told))
    assert described(tmp_path, {"model_type": "vit"}).pixels == pixels
