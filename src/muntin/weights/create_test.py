import json

import pytest
import torch
from safetensors.torch import save_file

from muntin import catalog
from muntin.errors import UserError
from muntin.formats import swin as official
from muntin.tasks import SimMIM
from muntin.weights.create import create_backbone, create_model
from muntin.weights.folder import load_model, save_model
from muntin.weights.load import load_weights, weights_file

SMALL = {"dim": 8, "depths": (1, 1), "heads": (1, 2), "window": 4}
FOREIGN = {  # official configs, timm (old and new), torchvision, transformers
    "swin_tiny_patch4_window7_224": "swin_tiny",
    "swin_tiny_c24_patch4_window8_256": "swin_tiny_c24",
    "swin_tiny_patch4_window7_224.ms_in22k_ft_in1k": "swin_tiny",
    "swin_base_patch4_window12_384_22kto1k_finetune": "swin_base_window12",
    "swin_base_patch4_window7_224_22k": "swin_base",
    "swin_large_patch4_window12_384.ms_in22k": "swin_large_window12",
    "swin_v2_t": "swin_v2_tiny_window8",
    "swin_b": "swin_base",
    "swinv2_tiny_window16_256.ms_in1k": "swin_v2_tiny_window16",
    "swinv2_small_patch4_window8_256": "swin_v2_small_window8",
    "swinv2_base_patch4_window12_192_22k": "swin_v2_base_window12",
    "swinv2_base_patch4_window12to16_192to256_22kto1k_ft": "swin_v2_base_window12to16",
    "swinv2_large_window12to24_192to384.ms_in22k_ft_in1k": "swin_v2_large_window12to24",
    "microsoft/swin-base-patch4-window7-224-in22k": "swin_base",
    "microsoft/swin-small-patch4-window7-224": "swin_small",
    "microsoft/swinv2-tiny-patch4-window8-256": "swin_v2_tiny_window8",
    "microsoft/swinv2-base-patch4-window12to24-192to384-22kto1k-ft": "swin_v2_base_window12to24",
    "Swin_Tiny": "swin_tiny",
}


@pytest.mark.parametrize(("foreign", "ours"), FOREIGN.items())
def test_names_of_other_projects_are_understood(foreign, ours):
    assert catalog.entry(foreign).name == ours


def test_every_alias_leads_to_an_entry():
    assert {catalog.entry(alias).name for alias in catalog.ALIASES} <= set(catalog.list_models())


def test_names_are_listed_by_pattern():
    assert catalog.list_models("swin_v2_tiny*") == ["swin_v2_tiny_window8", "swin_v2_tiny_window16"]
    assert catalog.list_models("nothing*") == []


def test_a_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"unknown model 'swin_tinny': did you mean swin_tiny"):
        create_model("swin_tinny")


def test_a_wrong_field_is_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"unknown field of swin_tiny 'windw': did you mean window"):
        create_model("swin_tiny", windw=8)


def test_a_negative_number_of_classes_is_refused():
    with pytest.raises(UserError, match="num_classes is -1"):
        create_model("swin_tiny", num_classes=-1, **SMALL)


def test_classifiers_shrink_their_windows_and_backbones_pad():
    assert create_model("swin_tiny", **SMALL).backbone.config.small_map == "shrink"
    assert create_backbone("swin_tiny", **SMALL).config.small_map == "keep"


@pytest.fixture
def model():
    torch.manual_seed(0)
    return create_model("swin_v2_tiny_window8", num_classes=3, **SMALL)


def equal(one, other) -> bool:
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_official_files_are_loaded_by_a_model_of_their_shape(model, tmp_path):
    torch.save({"model": official.write(model.state_dict(), "official")}, tmp_path / "official.pth")
    weights = tmp_path / "official.pth"
    assert equal(create_model("swin_v2_tiny_window8", num_classes=3, weights=weights, **SMALL), model)


def test_a_file_of_other_classes_is_refused_unless_its_head_is_replaced(model, tmp_path):
    save_file(model.state_dict(), tmp_path / "three.safetensors")
    other = create_model("swin_v2_tiny_window8", num_classes=5, **SMALL)
    with pytest.raises(UserError, match="trained for 3 classes, the model has 5"):
        load_weights(other, tmp_path / "three.safetensors")
    fresh = other.readout.head.weight.detach().clone()
    report = load_weights(other, tmp_path / "three.safetensors", replace_head=True)
    assert list(report.reinitialised) == ["readout.head.weight", "readout.head.bias"]
    assert torch.equal(other.readout.head.weight, fresh)
    assert torch.equal(other.readout.norm.weight, model.readout.norm.weight)


def test_a_file_of_another_variant_is_refused(model, tmp_path):
    save_file(model.state_dict(), tmp_path / "small.safetensors")
    name, weights = "swin_v2_tiny_window8", tmp_path / "small.safetensors"
    with pytest.raises(UserError, match=r"is \(16,\) in the file and \(32,\) in the model \(and \d+ more"):
        create_model(name, num_classes=3, weights=weights, **SMALL | {"dim": 16})
    with pytest.raises(UserError, match="is missing from the file"):
        create_model(name, num_classes=3, weights=weights, **SMALL | {"depths": (1, 2)})


def test_a_pretrained_encoder_starts_a_classifier(model, tmp_path):
    torch.manual_seed(1)
    task = SimMIM(create_backbone("swin_v2_tiny_window8", **SMALL))
    save_model(tmp_path, "swin_v2_tiny_window8", task, kind="simmim", classes=(), inputs={})
    report = load_weights(model, tmp_path, replace_head=True)
    assert set(report.dropped) == {"mask_token", "decoder.weight", "decoder.bias"}
    assert list(report.reinitialised) == ["readout.head.weight", "readout.head.bias"]
    assert equal(model.backbone, task.backbone)
    assert torch.equal(model.readout.norm.weight, task.norm.weight)
    assert equal(load_model(tmp_path).model, task)


def saved_folder(model, folder):
    save_model(folder, "swin_v2_tiny_window8", model, kind="classifier", classes=("a", "b", "c"), inputs={})
    return folder


def test_a_run_folder_stands_for_the_model_in_it(model, tmp_path):
    saved_folder(model, tmp_path / "model")
    assert equal(load_model(tmp_path).model, model)
    assert weights_file(tmp_path) == tmp_path / "model" / "model.safetensors"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": "muntin/9"}, "format 'muntin/9'"),
        ({"classes": ["a"]}, "names 1 classes but says num_classes 3"),
        ({"model": None}, "'model' is missing"),
        ({"model": "swin_v2_tinny_window8"}, "did you mean swin_v2_tiny_window8"),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(model, tmp_path, change, sentence):
    path = saved_folder(model, tmp_path) / "config.json"
    unsealed = {"format": "muntin/1"}  # the format without a checksum of its own
    path.write_text(json.dumps(json.loads(path.read_text()) | unsealed | change))
    with pytest.raises(UserError, match=sentence):
        load_model(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_damaged_description_is_one_sentence(model, tmp_path, text):
    (saved_folder(model, tmp_path) / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config\.json"):
        load_model(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"holds no model\.safetensors"):
        load_model(tmp_path)
    with pytest.raises(UserError, match="absent"):
        load_model(tmp_path / "absent")


@pytest.mark.parametrize("layout", ["official", "dense"])
def test_a_backbone_takes_its_part_of_an_official_file(tmp_path, layout):

    source = create_model("swin_tiny", num_classes=3, **SMALL)
    state = {k: v for k, v in source.state_dict().items() if layout == "official" or k.startswith("backbone.")}
    if layout == "dense":
        state |= {f"norms.norms.{i}.{p}": torch.ones(8 * 2**i) for i in range(2) for p in ("weight", "bias")}
    save_file(official.write(state, layout), tmp_path / "official.safetensors")
    backbone = create_backbone("swin_tiny", weights=tmp_path / "official.safetensors", **SMALL)
    assert all(torch.equal(v, source.backbone.state_dict()[k]) for k, v in backbone.state_dict().items())


def test_v2_weights_of_a_folder_keep_the_scale_of_their_position_bias_at_any_window(tmp_path):
    model = create_model("swin_v2_tiny_window8", num_classes=2, **SMALL)
    model.backbone.set_window((6, 6))
    save_model(tmp_path, "swin_v2_tiny_window8", model, kind="classifier", classes=("a", "b"), inputs={})
    again = create_model("swin_v2_tiny_window8", num_classes=2, weights=tmp_path, **{**SMALL, "window": 6})
    x = torch.randn(1, 3, 48, 40)
    assert torch.equal(again.eval()(x), model.eval()(x))


@pytest.mark.parametrize("create", [create_model, create_backbone])
@pytest.mark.parametrize("window", [12, 16])
def test_v2_weights_that_do_not_tell_their_scale_have_that_of_their_published_training(tmp_path, create, window):
    """Trained at 192 pixels, the last map was 6 x 6 and so was its window, not 12 x 12 as the config says."""
    small = {"dim": 8, "depths": (1, 1, 1, 1), "heads": (1, 2, 4, 8)}
    source = create_model("swin_v2_base_window12", num_classes=1000, **small)
    save_file(official.write(source.state_dict(), "timm"), tmp_path / "timm.safetensors")
    model = create("swin_v2_base_window12", weights=tmp_path / "timm.safetensors", **small, window=window)
    backbone = model.backbone if create is create_model else model
    assert backbone.config.pretrained_window == ((12, 12), (12, 12), (12, 12), (6, 6))


def test_features_can_be_had_from_the_weights_of_a_classifier(tmp_path):
    model = create_model("swin_tiny", num_classes=2, **SMALL)
    save_model(tmp_path, "swin_tiny", model, kind="classifier", classes=("a", "b"), inputs={})
    features = create_model("swin_tiny", num_classes=0, weights=tmp_path, **SMALL)
    x = torch.randn(1, 3, 20, 24)
    assert torch.equal(features(x), model.readout.pool(model.backbone(x).levels))
    with pytest.raises(UserError, match="1 class names"):
        save_model(tmp_path, "swin_tiny", model, kind="classifier", classes=("a",), inputs={})
    with pytest.raises(UserError, match="names a SwinV2"):
        save_model(tmp_path, "swin_v2_g_window12", model, kind="classifier", classes=("a", "b"), inputs={})


@pytest.mark.parametrize(
    "wrong",
    [
        {"depths": 5},
        {"dim": 0},
        {"small_map": "pad"},
        {"patch": 0},
        {"mlp_ratio": -1},
        {"absolute_position": True},
        {"in_chans": 0},
        {"window": 0},
        {"pretrained_window": 12},
        {"pretrained_window": (12, 6, 3)},
        {"extra_norm_scope": "netwrok"},
        {"extra_norm_period": -6},
        {"drop_path_rate": 1.0},
        {"num_classes": "3"},
    ],
    ids=str,
)
def test_a_value_no_model_can_have_is_one_sentence(wrong):
    with pytest.raises(UserError, match=next(iter(wrong)).replace("_", ".")):
        create_model("swin_v2_tiny_window8", **{**SMALL, **wrong})


@pytest.mark.parametrize(
    ("typed", "meant"), [("swinv2_g", "swin_v2_g_window12"), ("SwinV2-huge", "swin_v2_huge_window12")]
)
def test_a_wrong_name_in_another_spelling_finds_its_nearest(typed, meant):
    with pytest.raises(UserError, match=meant):
        catalog.entry(typed)


def test_an_assumed_scale_that_changes_numbers_is_a_warning(tmp_path, caplog):
    small = {"dim": 8, "depths": (1, 1), "heads": (1, 2), "num_classes": 2}
    state, file = create_model("swin_v2_tiny_window8", **small).state_dict(), tmp_path / "bare.safetensors"
    save_file(official.write(state, "timm"), file)
    create_model("swin_v2_tiny_window8", weights=file, **small)
    assert not caplog.records
    create_model("swin_v2_tiny_window8", weights=file, window=12, **small)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "trained with windows 8x8 (assumed" in caplog.text


def test_a_file_of_unknown_keys_is_named(tmp_path):
    save_file({"a.weight": torch.ones(2)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"other\.safetensors: .*a\.weight"):
        create_model("swin_tiny", weights=tmp_path / "other.safetensors")


@pytest.mark.parametrize("dropout", [1.0, -0.1, float("nan")])
def test_a_dropout_that_is_no_chance_is_refused(dropout):
    with pytest.raises(UserError, match=r"must be a chance in \[0, 1\)"):
        create_model("deit_small", dim=16, heads=2, depth=1, dropout=dropout)
