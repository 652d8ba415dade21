import json

import pytest
import torch
from safetensors.torch import save_file

from muntin import catalog
from muntin.data import PictureInput
from muntin.errors import UserError
from muntin.formats import swin as swin_files
from muntin.models.swin_v2 import log_spaced_offsets
from muntin.tasks import SimMIM
from muntin.weights.create import create_backbone, create_model
from muntin.weights.fit import resize_table
from muntin.weights.folder import load_model, save_model
from muntin.weights.load import load_backbone, load_weights

SMALL = {"dim": 8, "depths": (2, 1), "heads": (1, 2)}
V1, V2 = "swin_base", "swin_v2_base_window8"


def classifier(name: str = V1, seed: int = 0, classes: int = 3, **config):
    torch.manual_seed(seed)
    model = create_model(name, num_classes=classes, **{"window": 4, **SMALL, **config})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def official_file(model, folder, coordinates_of=None):
    """The weights as the official code saves them; coordinates_of: with V2's coordinates for (window, scale)."""
    state = swin_files.write(model.state_dict(), "official")
    if coordinates_of:
        window, scale = coordinates_of
        offsets = log_spaced_offsets(window, scale, torch.float32, torch.device("cpu"))
        for s, depth in enumerate(SMALL["depths"]):
            for b in range(depth):
                shape = (1, *[2 * w - 1 for w in window], 2)
                state[f"layers.{s}.blocks.{b}.attn.relative_coords_table"] = offsets.view(shape).clone()
    path = folder / "official.pth"
    torch.save({"model": state}, path)
    return path


def saved(model, folder, name=V1):
    kind = "simmim" if isinstance(model, SimMIM) else "classifier"
    classes = () if kind == "simmim" else tuple(map(str, range(model.num_classes)))
    save_model(folder, name, model, kind=kind, classes=classes, inputs={})
    return folder


# --- another window, resolution, number of channels


def test_weights_of_another_window_are_refused_until_resizing_is_asked_for(tmp_path):
    path = official_file(classifier(), tmp_path)
    sentence = r"needs adapting \(4x4 -> 6x6 window, bicubic\); load it with resize='auto', .*muntin adapt .* --window"
    for create in (create_model, create_backbone):
        options = {"num_classes": 3} if create is create_model else {}
        with pytest.raises(UserError, match=sentence):
            create("swin_base_window12", weights=path, **options, **{**SMALL, "window": 6})


def test_fine_tuning_takes_weights_of_another_window_and_resolution(tmp_path):
    small = classifier(absolute_position=(3, 5))
    path = saved(small, tmp_path)
    config = {**SMALL, "window": 6, "absolute_position": (6, 7), "in_chans": 4}
    large = create_model("swin_base_window12", num_classes=3, **config)
    report = load_weights(large, path, resize="auto")
    table = small.backbone.stages[0][1].mix.position.table
    assert torch.equal(large.backbone.stages[0][1].mix.position.table, resize_table(table, (6, 6)))
    assert large.backbone.absolute_position.embedding.shape == (6, 7, 8)
    assert torch.equal(large.readout.head.weight, small.readout.head.weight)
    assert len(report.resized) == 5
    assert set(report.resized.values()) == {
        "4x4 -> 6x6 window, bicubic",
        "3x5 -> 6x7 tokens, bicubic",
        "3 -> 4 input channels, the response to grey pictures kept",
    }
    assert not report.dropped
    assert not report.reinitialised
    assert "5 resized" in str(report)
    assert large(torch.randn(1, 4, 48, 56)).isfinite().all()


def test_a_larger_catalog_model_starts_from_the_smaller_windows_file(tmp_path):
    path = official_file(classifier(window=7), tmp_path)
    model = create_model("swin_base_window12", num_classes=3, weights=path, resize="auto", **SMALL)
    assert model.backbone.stages[0][0].mix.position.table.shape == (23 * 23, 1)


@pytest.mark.parametrize(
    ("resize", "rule"), [("auto", "geometric"), ("bicubic", "bicubic"), ("geometric", "geometric")]
)
def test_simmim_files_are_resized_by_their_own_rule_unless_another_is_chosen(tmp_path, resize, rule):
    torch.manual_seed(0)
    task = SimMIM(create_backbone(V1, window=4, **SMALL))
    path = saved(task, tmp_path)
    model = classifier(window=6, seed=1)
    report = load_weights(model, path, replace_head=True, resize=resize)
    table = task.backbone.stages[1][0].mix.position.table
    assert torch.equal(model.backbone.stages[1][0].mix.position.table, resize_table(table, (6, 6), rule))
    assert set(report.resized.values()) == {f"4x4 -> 6x6 window, {rule}"}


def test_windows_that_are_not_square_are_told_by_the_description(tmp_path):
    wide, x = classifier(window=(4, 2)), torch.randn(1, 3, 32, 32)
    path = saved(wide, tmp_path / "folder")
    report = load_weights(classifier(window=(2, 4)), path, resize="auto")
    assert set(report.resized.values()) == {"4x2 -> 2x4 window, bicubic"}
    assert torch.equal(load_model(path).model(x), wide(x))
    save_file(wide.state_dict(), tmp_path / "alone.safetensors")
    with pytest.raises(UserError, match="belongs to no square window"):
        load_weights(classifier(window=(6, 6)), tmp_path / "alone.safetensors", resize="auto")


def test_classes_are_chosen_from_the_head_of_the_file(tmp_path):
    many = classifier(classes=5)
    few = classifier(seed=1, classes=3)
    report = load_weights(few, saved(many, tmp_path), class_rows=(4, 0, 2))
    assert torch.equal(few.readout.head.weight, many.readout.head.weight[[4, 0, 2]])
    assert report.resized == dict.fromkeys(
        ["readout.head.weight", "readout.head.bias"], "3 classes chosen from the file's head"
    )
    with pytest.raises(UserError, match="2 rows of a head for 3 classes"):
        load_weights(few, tmp_path, class_rows=(4, 0))


def test_a_damaged_head_of_the_right_classes_is_not_replaced(tmp_path):
    state = swin_files.write(classifier().state_dict(), "official")
    for damage, sentence in (
        ({"head.bias": None}, r"readout\.head\.bias is missing from the file"),
        ({"head.bias": torch.tensor(1.0)}, r"head\.bias is \(\) in the file and \(3,\) in the model"),
        ({"head.weight": torch.ones(3, 5)}, r"head\.weight is \(3, 5\) in the file and \(3, 16\) in the model"),
    ):
        damaged = {k: v for k, v in (state | damage).items() if v is not None}
        save_file(damaged, tmp_path / "damaged.safetensors")
        with pytest.raises(UserError, match=sentence):
            load_weights(classifier(seed=1), tmp_path / "damaged.safetensors", replace_head=True)


def test_a_model_without_memory_is_refused_and_not_left_empty(tmp_path):
    path = official_file(classifier(), tmp_path)
    with torch.device("meta"):
        model = create_model(V1, num_classes=3, window=4, **SMALL)
    with pytest.raises(UserError, match="model is on the meta device"):
        load_weights(model, path)
    load_weights(model.to_empty(device="cpu"), path)
    assert torch.equal(model.readout.head.weight, classifier().readout.head.weight)


def test_nothing_is_loaded_where_something_does_not_fit(tmp_path):
    path = official_file(classifier(depths=(1, 1)), tmp_path)
    model = classifier(window=6, seed=1)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(UserError, match=r"official layout\) does not fit the model: .* is missing from the file"):
        load_weights(model, path, resize="auto")
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_an_unknown_way_to_resize_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(UserError, match="unknown resize 'bicubik': did you mean bicubic"):
        load_weights(classifier(), saved(classifier(), tmp_path), resize="bicubik")


def test_a_file_of_the_other_family_is_named(tmp_path):
    path = official_file(classifier(), tmp_path)
    with pytest.raises(UserError, match=r"holds a Swin and the model is a Swin V2"):
        load_weights(classifier(V2), path)
    save_file(classifier(V2).state_dict(), tmp_path / "v2.safetensors")
    with pytest.raises(UserError, match=r"holds a Swin V2 and the model is a Swin; give weights of its kind$"):
        load_backbone(classifier().backbone, tmp_path / "v2.safetensors")


# --- the account


def test_every_tensor_of_file_and_model_is_in_the_report_once(tmp_path):
    torch.manual_seed(0)
    task = SimMIM(create_backbone(V1, window=4, **SMALL))
    state = swin_files.write(task.state_dict(), "simmim")
    index = "encoder.layers.0.blocks.1.attn.relative_position_index"
    save_file(state | {index: torch.zeros(16, 16)}, tmp_path / "simmim.safetensors")
    model = classifier(window=6)
    report = load_weights(model, tmp_path / "simmim.safetensors", replace_head=True, resize="auto")
    assert report.layout == "simmim"
    assert report.taken.keys() | report.resized.keys() | report.reinitialised.keys() == set(model.state_dict())
    assert report.remade == {index: "follows from sizes"}
    assert set(report.dropped) == {"mask_token", "decoder.weight", "decoder.bias"}
    counted = sum(int(line.split()[1]) for line in report.table().splitlines())
    assert counted == len(state) + 1 + len(report.reinitialised)


def test_a_backbone_says_which_parts_it_left_aside(tmp_path):
    report = load_backbone(classifier(seed=1).backbone, official_file(classifier(), tmp_path))
    assert report.dropped == dict.fromkeys(
        ["readout.norm.weight", "readout.norm.bias", "readout.head.weight", "readout.head.bias"],
        "not part of the backbone",
    )


# --- the scale of V2's position bias


def test_the_scale_is_read_from_the_coordinates_that_an_official_file_keeps(tmp_path):
    trained = classifier(V2, pretrained_window=((6, 6), (6, 6)))
    path = official_file(trained, tmp_path, coordinates_of=((4, 4), (6, 6)))
    model = classifier(V2, seed=1)
    report = load_weights(model, path)
    assert model.backbone.config.pretrained_window == ((6, 6), (6, 6))
    assert "position bias trained with windows 6x6 (as the file tells)" in str(report)
    x = torch.randn(1, 3, 32, 36)
    assert torch.equal(model(x), trained(x))


def test_a_scale_that_contradicts_the_file_is_refused(tmp_path):
    path = official_file(classifier(V2), tmp_path, coordinates_of=((4, 4), (6, 6)))
    with pytest.raises(UserError, match=r"trained with windows 6x6, and the model is set to 4x4, 2x2; build the model"):
        load_weights(classifier(V2, pretrained_window=((4, 4), (2, 2))), path)


def test_an_unknown_scale_is_assumed_and_said(tmp_path):
    trained = classifier(V2, window=8)
    path = official_file(trained, tmp_path)
    model = classifier(V2, window=8)
    assert "windows 8x8 (assumed, the file does not tell)" in str(load_weights(model, path))
    assert model.backbone.config.pretrained_window is None
    larger = create_model(V2, num_classes=3, weights=path, **{**SMALL, "window": 10}).eval()
    assert larger.backbone.config.pretrained_window == ((8, 8), (8, 8))  # the variant's own window
    trained.backbone.set_window((10, 10))
    x = torch.randn(1, 3, 80, 84)
    assert torch.equal(larger(x), trained(x))


def test_a_folder_tells_the_windows_that_training_really_used(tmp_path):
    trained = classifier(V2, window=6)
    inputs = PictureInput(image_size=(24, 28)).to_dict()  # maps of 6 x 7 and 3 x 4
    save_model(tmp_path, V2, trained, kind="classifier", classes=("a", "b", "c"), inputs=inputs)
    model = classifier(V2, window=4, seed=1)
    report = load_weights(model, tmp_path)
    assert model.backbone.config.pretrained_window == ((6, 6), (3, 3))
    assert "trained with windows 6x6, 3x3 (those that the file was made for)" in str(report)
    x = torch.randn(1, 3, 24, 28)
    assert torch.equal(load_model(tmp_path).model(x), trained(x))


def test_the_scale_in_the_description_of_transformers_is_taken(tmp_path):
    state = swin_files.write(classifier(V2).state_dict(), "transformers")
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_window_sizes": [12, 6]}))
    model = classifier(V2, seed=1)
    load_weights(model, tmp_path)
    assert model.backbone.config.pretrained_window == ((12, 12), (6, 6))


def test_the_windows_in_the_description_of_transformers_are_the_scale_where_it_has_none(tmp_path):
    save_file(swin_files.write(classifier(V2).state_dict(), "transformers"), tmp_path / "model.safetensors")
    sizes = {"model_type": "swinv2", "image_size": 24, "patch_size": 4, "window_size": 4}
    (tmp_path / "config.json").write_text(json.dumps(sizes | {"pretrained_window_sizes": [0, 0]}))
    model = classifier(V2, seed=1, window=6)
    load_weights(model, tmp_path)
    assert model.backbone.config.pretrained_window == ((4, 4), (3, 3))


def test_a_frozen_position_bias_is_saved_and_loaded_as_it_is(tmp_path):
    model = classifier(V2)
    model.backbone.freeze_position_bias()
    path, x = saved(model, tmp_path, V2), torch.randn(1, 3, 32, 36)
    again = load_model(path).model
    assert torch.equal(again(x), model(x))
    assert again.backbone.config.frozen_bias
    with pytest.raises(UserError, match="frozen into a table"):
        again.backbone.set_window((6, 6))
    with pytest.raises(UserError, match=r"with a frozen position bias and the model is a Swin V2; .*frozen_bias=True"):
        load_weights(classifier(V2), path)
    with pytest.raises(UserError, match=r"holds a Swin V2 and the model is a Swin V2 with a frozen position bias"):
        load_weights(again, official_file(classifier(V2), tmp_path))


@pytest.mark.parametrize("resize", ["", "auto", "bicubic"])
def test_a_frozen_position_bias_is_not_resized(tmp_path, resize):
    model = classifier(V2)
    model.backbone.freeze_position_bias()
    path = saved(model, tmp_path, V2)
    with pytest.raises(UserError, match=r"frozen for other windows than the model's \(4x4 -> 6x6 window\)"):
        load_weights(classifier(V2, window=6, frozen_bias=True), path, resize=resize)


# --- what no tensor tells


FAMILIES = {
    "cvt_13": ({"dims": (8, 16), "depths": (1, 1)}, 2),
    "convnext_roadmap_08": ({"depths": (1, 1), "width": 8}, 0),
    "convnext_tiny": ({"dims": (8, 16), "depths": (1, 1)}, 0),
    "vit_tiny_patch16": ({"dim": 12, "depth": 1, "heads": 3, "grid": (2, 2)}, 0),
}


def small(name: str, **changes):
    config, stages = FAMILIES[name]
    if stages:
        base = catalog.build_config(name, {})
        values = {field: getattr(base, field)[:stages] for field in vars(base) if field not in ("in_chans", *config)}
        config = {**values, **config, "heads": (1, 2)}
    return create_model(name, num_classes=3, **{**config, **changes})


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("cvt_13", {"heads": (1, 4)}),
        ("cvt_13", {"kv_stride": (1, 1)}),
        ("convnext_roadmap_08", {"activation": "gelu"}),
        ("vit_tiny_patch16", {"heads": 4}),
    ],
)
def test_weights_of_a_model_that_differs_in_what_no_tensor_tells_are_refused(tmp_path, name, changes):
    folder, field = saved(small(name, **changes), tmp_path, name), next(iter(changes))
    with pytest.raises(UserError, match=rf"build it with {field}="):
        load_weights(small(name), folder)
    load_weights(small(name, **changes), folder)
    assert getattr(load_model(folder).model.backbone.config, field) == changes[field]


def test_a_description_of_another_family_beside_the_weights_changes_nothing(tmp_path):
    save_file(small("convnext_tiny").state_dict(), tmp_path / "model.safetensors")
    beside = {"model_type": "vit", "num_attention_heads": 3, "hidden_act": "gelu"}
    (tmp_path / "config.json").write_text(json.dumps(beside))
    assert load_weights(small("convnext_tiny"), tmp_path).notes == ()
