import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from muntin import catalog
from muntin.data import PictureInput, picture_sample
from muntin.data.transforms import vision
from muntin.errors import UserError
from muntin.formats.swin import write
from muntin.models import Swin
from muntin.tasks import SimMIM
from muntin.weights.adapt import adapt
from muntin.weights.convert import FOLDERS, LAYOUTS, convert
from muntin.weights.create import create_backbone, create_model
from muntin.weights.folder import load_model, read_config, save_model
from muntin.weights.inspect import inspect

SMALL = {"dim": 8, "depths": (2, 1), "heads": (1, 2)}
CLASSES = ("ant", "bee", "fly")
PICTURE = torch.randn(1, 3, 32, 40, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def small_catalog(monkeypatch):
    """The names of the catalog, but of models that are quick to make."""
    for name, window in (("swin_tiny", 4), ("swin_v2_tiny_window8", 4), ("swin_v2_tiny_window16", 8)):
        small = catalog.build_config(name, SMALL | {"window": window})
        monkeypatch.setitem(catalog.CATALOG, name, catalog.CATALOG[name]._replace(config=small, image_size=(64, 64)))


def saved(folder, name="swin_tiny", **changes):
    model = create_model(name, num_classes=3, **changes)
    values = PictureInput(image_size=(64, 64), crop_ratio=0).to_dict()
    save_model(folder, name, model, kind="classifier", classes=CLASSES, inputs=values)
    return model.eval()


def layouts_of(name: str) -> list:
    """Every layout that a classifier of this name can be written in."""
    files = catalog.entry(name).family.files
    written = {  # by code that computes another GELU, or that knows no distillation
        "vit_tiny_patch16": ("torchvision",),
        "deit_tiny": ("official",),
        "deit_tiny_distilled": ("official", "torchvision"),
        "vit_r26_small_patch32": ("torchvision", "transformers"),
        "deit3_small": ("official", "torchvision", "transformers"),
    }.get(name, ())
    return [layout for layout in files.layouts if layout not in ("dense", "simmim", *written)]


NAMES = ("swin_tiny", "swin_v2_tiny_window8", "vit_tiny_patch16", "vit_r26_small_patch32", "deit_tiny")
NAMES += ("deit_tiny_distilled", "deit3_small", "beit_base", "cvt_13", "convnext_tiny", "convnext_roadmap_00")


@pytest.mark.parametrize(("name", "layout"), [(name, layout) for name in NAMES for layout in layouts_of(name)])
def test_every_layout_of_a_classifier_leads_back(tmp_path, monkeypatch, name, layout):
    entry = catalog.entry(name)
    if not name.startswith("swin"):  # those are small already
        small = catalog.build_config(name, entry.family.small)
        monkeypatch.setitem(catalog.CATALOG, name, entry._replace(config=small))
    model = saved(tmp_path / "ours", name)
    arrays = entry.family.files.arrays
    there = tmp_path / ("there" if layout in FOLDERS else "there.npz" if layout in arrays else "there.safetensors")
    report = convert(tmp_path / "ours", there, layout=layout)
    assert report.layout == "muntin"
    assert len(report.taken) == len(model.state_dict())
    back = convert(there, tmp_path / "back", layout="muntin", model=name)
    assert back.layout == layout or (back.layout, layout) == ("timm", "deit3")  # the same where there is no layer scale
    if layout not in ("muntin", "official") and name.startswith("vit_"):  # what such files cannot tell
        model.backbone.adopt({"position_resample": "bicubic"} | ({"gelu": "erf"} if layout != "transformers" else {}))
    torch.testing.assert_close(load_model(tmp_path / "back").model(PICTURE), model(PICTURE), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("layout", "inside"), [("official", "model"), ("openmmlab", "state_dict"), ("timm", None)])
def test_a_pth_has_the_wrapper_of_its_project(tmp_path, layout, inside):
    model = saved(tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "there.pth", layout=layout)
    content = torch.load(tmp_path / "there.pth", weights_only=True)
    state = content[inside] if inside else content
    assert state.keys() == write(model.state_dict(), layout).keys()
    convert(tmp_path / "there.pth", tmp_path / "back", layout="muntin")
    assert torch.equal(load_model(tmp_path / "back").model(PICTURE), model(PICTURE))


def test_a_simmim_file_becomes_a_folder_and_a_file_again(tmp_path):
    task = SimMIM(Swin(catalog.entry("swin_tiny").config))
    save_file(write(task.state_dict(), "simmim"), tmp_path / "official.safetensors")
    convert(tmp_path / "official.safetensors", tmp_path / "ours", layout="muntin")
    assert read_config(tmp_path / "ours")["kind"] == "simmim"
    convert(tmp_path / "ours", tmp_path / "again.safetensors", layout="simmim")
    first, again = (load_file(tmp_path / f"{name}.safetensors") for name in ("official", "again"))
    assert first.keys() == again.keys()
    assert all(torch.equal(again[key], tensor) for key, tensor in first.items())
    loaded = load_model(tmp_path / "ours")
    assert loaded.answering() == {"kind": "simmim"}
    assert torch.equal(loaded.model.mask_token, task.mask_token)


def test_a_dense_backbone_becomes_a_folder(tmp_path):
    backbone = Swin(catalog.entry("swin_tiny").config)
    state = {f"backbone.{key}": tensor for key, tensor in backbone.state_dict().items()}
    state |= {f"norms.norms.{i}.{p}": torch.rand(8 * 2**i) for i in range(2) for p in ("weight", "bias")}
    detector = {f"backbone.{key}": tensor for key, tensor in write(state, "dense").items()}
    torch.save({"state_dict": detector | {"roi_head.weight": torch.ones(2)}}, tmp_path / "detector.pth")
    report = convert(tmp_path / "detector.pth", tmp_path / "ours", layout="muntin")
    assert set(report.dropped) == {"roi_head.weight"}
    assert any("a detector" in note for note in report.notes)
    again = create_backbone("swin_tiny", weights=tmp_path / "ours")
    assert all(torch.equal(again.state_dict()[key], tensor) for key, tensor in backbone.state_dict().items())


def test_what_a_bare_file_does_not_tell_is_filled_in_and_said(tmp_path):
    model = create_model("swin_tiny", num_classes=4)
    save_file(write(model.state_dict(), "official"), tmp_path / "bare.safetensors")
    report = convert(tmp_path / "bare.safetensors", tmp_path / "ours", layout="muntin")
    found = load_model(tmp_path / "ours")
    assert found.classes == ("0", "1", "2", "3")
    assert found.preprocess == PictureInput(image_size=(64, 64)).to_dict()
    assert "ImageNet's mean" in report.notes[0]
    assert "numbers, 0 to 3" in report.notes[1]


def test_a_v2_file_that_does_not_tell_its_window_needs_a_name(tmp_path):
    saved(tmp_path / "ours", "swin_v2_tiny_window16")
    convert(tmp_path / "ours", tmp_path / "bare.safetensors", layout="timm")
    with pytest.raises(UserError, match=r"fits swin_v2_tiny_window8, swin_v2_tiny_window16; .* --model"):
        convert(tmp_path / "bare.safetensors", tmp_path / "out", layout="muntin")
    with pytest.raises(UserError, match="is a Swin, and the file holds a SwinV2"):
        convert(tmp_path / "bare.safetensors", tmp_path / "out", layout="muntin", model="swin_tiny")
    with pytest.raises(UserError, match="holds no swin_v2_base_window8: it has dim 8, not 128"):
        convert(tmp_path / "bare.safetensors", tmp_path / "out", layout="muntin", model="swin_v2_base_window8")
    convert(tmp_path / "bare.safetensors", tmp_path / "out", layout="muntin", model="swin_v2_tiny_window16")
    assert load_model(tmp_path / "out").name == "swin_v2_tiny_window16"


def test_windows_and_scale_come_from_the_tables_of_a_file(tmp_path):
    """A model that is none of the catalog, written as transformers writes it."""
    changes = {"window": 8, "pretrained_window": ((6, 6), (3, 3)), "depths": (1, 2), "mlp_ratio": 2.0, "in_chans": 1}
    model = create_model("swin_v2_tiny_window8", num_classes=3, **changes).eval()
    values = PictureInput(image_size=(64, 64), mean=(0.5,), std=(0.5,)).to_dict()
    save_model(tmp_path / "a", "swin_v2_tiny_window8", model, kind="classifier", classes=CLASSES, inputs=values)
    convert(tmp_path / "a", tmp_path / "b", layout="transformers")
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    assert config["pretrained_window_sizes"] == [6, 3]
    assert config["window_size"] == 8
    assert config["id2label"] == {"0": "ant", "1": "bee", "2": "fly"}
    seen = inspect(tmp_path / "b")
    assert (seen.layout, seen.pretrained_window, seen.in_chans) == ("transformers", ((6, 6), (3, 3)), 1)


def broken_write(*_, **__):
    raise OSError(28, "No space left on device")


def test_nothing_is_left_behind_by_what_fails(tmp_path, monkeypatch):
    saved(tmp_path / "ours")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=r"unknown layout 'tim': did you mean"):
        convert(tmp_path / "ours", tmp_path / "x.pth", layout="tim")
    with pytest.raises(UserError, match=r"should end in \.safetensors, \.pth, \.pt"):
        convert(tmp_path / "ours", tmp_path / "x", layout="timm")
    with pytest.raises(UserError, match="have no name in the simmim layout"):
        convert(tmp_path / "ours", tmp_path / "x.pth", layout="simmim")
    monkeypatch.setattr("muntin.files.writing.save_file", broken_write)
    monkeypatch.setattr(torch, "save", broken_write)
    for layout in LAYOUTS:
        if layout not in ("dense", "simmim", "deit3"):
            with pytest.raises(OSError, match="No space"):
                convert(tmp_path / "ours", tmp_path / ("x" if layout in FOLDERS else "x.pth"), layout=layout)
    assert sorted(tmp_path.iterdir()) == before


def test_what_exists_is_replaced_only_when_told(tmp_path):
    saved(tmp_path / "ours")
    for place, layout in (("there.pth", "timm"), ("there", "transformers"), ("folder", "muntin")):
        convert(tmp_path / "ours", tmp_path / place, layout=layout)
        with pytest.raises(UserError, match=f"{place} exists"):
            convert(tmp_path / "ours", tmp_path / place, layout=layout)
        convert(tmp_path / "ours", tmp_path / place, layout=layout, overwrite=True)
    with pytest.raises(UserError, match="ours exists"):
        adapt(tmp_path / "ours", tmp_path / "ours", window=2)


def test_an_incomplete_file_is_refused(tmp_path):
    state = write(create_model("swin_tiny", num_classes=3).state_dict(), "official")
    del state["layers.1.blocks.0.mlp.fc2.bias"]
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(UserError, match=r"no whole swin_tiny: backbone\.stages\.1\.0\.mlp\.fc2\.bias is missing"):
        convert(tmp_path / "part.safetensors", tmp_path / "out.pth", layout="timm")
    assert not (tmp_path / "out.pth").exists()


# --- adapting --------------------------------------------------------------------------------------------------------


def test_another_window_size_channels_and_classes_at_once(tmp_path):
    model = saved(tmp_path / "ours")
    report = adapt(tmp_path / "ours", tmp_path / "new", window=(6, 5), image_size=96, in_chans=1, num_classes=5)
    new = load_model(tmp_path / "new")
    assert {stage[0].window for stage in new.model.backbone.attentions()} == {(6, 5)}
    assert new.classes == ("0", "1", "2", "3", "4")
    assert new.preprocess["image_size"] == [96, 96]
    assert new.preprocess["crop_ratio"] == 0
    assert new.preprocess["mean"] == [0.449]
    assert not new.model.readout.head.weight.any()
    kernel = model.backbone.patch_embed.proj.weight
    assert torch.allclose(new.model.backbone.patch_embed.proj.weight, kernel.sum(1, keepdim=True))
    assert {why for why in report.resized.values() if "window" in why} == {"4x4 -> 6x5 window, bicubic"}
    assert set(report.reinitialised) == {"readout.head.weight", "readout.head.bias"}
    assert not report.taken.keys() & (report.resized.keys() | report.reinitialised.keys())


def test_v2_keeps_the_scale_it_was_trained_on(tmp_path):
    """Of what was trained at 64 pixels with window 16, the second stage had a map of 8 cells."""
    model = saved(tmp_path / "ours", "swin_v2_tiny_window8", window=16)
    adapt(tmp_path / "ours", tmp_path / "new", window=6)
    scales = [stage[0].position.scale_window for stage in load_model(tmp_path / "new").model.backbone.attentions()]
    assert scales == [(16, 16), (8, 8)]
    model.backbone.set_window((6, 6), trained_image=(64, 64))
    assert torch.equal(load_model(tmp_path / "new").model(PICTURE), model(PICTURE))


def test_a_frozen_bias_gives_the_same_numbers(tmp_path):
    model = saved(tmp_path / "ours", "swin_v2_tiny_window8")
    adapt(tmp_path / "ours", tmp_path / "new", freeze_bias=True)
    frozen = load_model(tmp_path / "new").model
    torch.testing.assert_close(frozen(PICTURE), model(PICTURE))
    assert not any("fc1" in key and "position" in key for key in frozen.state_dict())
    saved(tmp_path / "v1")
    with pytest.raises(UserError, match="no continuous position bias"):
        adapt(tmp_path / "v1", tmp_path / "x", freeze_bias=True)


def test_classes_are_chosen_by_a_list(tmp_path):
    model = saved(tmp_path / "ours")
    (tmp_path / "map.txt").write_text("2\n0\n")
    report = adapt(tmp_path / "ours", tmp_path / "new", class_map=tmp_path / "map.txt")
    new = load_model(tmp_path / "new")
    assert new.classes == ("fly", "ant")
    assert torch.equal(new.model(PICTURE), model(PICTURE)[:, [2, 0]])
    assert set(report.resized.values()) == {"2 of 3 classes, by the given list"}
    with pytest.raises(UserError, match="lists 2 classes, and num_classes is 3"):
        adapt(tmp_path / "ours", tmp_path / "x", class_map=tmp_path / "map.txt", num_classes=3)


def test_a_pretraining_file_gets_classes_and_the_geometric_rule(tmp_path):
    task = SimMIM(Swin(catalog.entry("swin_tiny").config))
    save_file(write(task.state_dict(), "simmim"), tmp_path / "official.safetensors")
    with pytest.raises(UserError, match=r"has no classes .* give num_classes"):
        adapt(tmp_path / "official.safetensors", tmp_path / "new", window=6)
    report = adapt(tmp_path / "official.safetensors", tmp_path / "new", window=6, num_classes=4)
    assert set(report.resized.values()) == {"4x4 -> 6x6 window, geometric"}
    assert load_model(tmp_path / "new").model.num_classes == 4


def test_nothing_to_adapt_is_said(tmp_path):
    saved(tmp_path / "ours")
    with pytest.raises(UserError, match="nothing to adapt"):
        adapt(tmp_path / "ours", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_an_absolute_embedding_follows_the_image_size(tmp_path):
    saved(tmp_path / "ours", absolute_position=16)
    adapt(tmp_path / "ours", tmp_path / "new", image_size=(96, 64))
    assert load_model(tmp_path / "new").model.backbone.absolute_position.embedding.shape == (24, 16, 8)


def test_other_numbers_of_channels_have_no_pictures_here(tmp_path):
    saved(tmp_path / "ours")
    report = adapt(tmp_path / "ours", tmp_path / "new", in_chans=5)
    new = load_model(tmp_path / "new")
    assert new.preprocess == {}
    assert new.model(torch.randn(1, 5, 32, 32)).shape == (1, 3)
    assert any("1 or 3 channels" in note for note in report.notes)


# --- what transformers makes of it -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "family", "changes"),
    [
        ("swin_tiny", "Swin", {}),
        ("swin_tiny", "Swin", {"qkv_bias": False}),
        ("swin_v2_tiny_window8", "Swinv2", {}),
        ("swin_v2_tiny_window8", "Swinv2", {"pretrained_window": ((6, 6), (3, 3))}),
    ],
)
def test_transformers_loads_the_folder_and_agrees(tmp_path, name, family, changes):
    transformers = pytest.importorskip("transformers")
    vision.functional()  # so that a torchvision without its operators can be imported by transformers
    model = saved(tmp_path / "ours", name, **changes)
    convert(tmp_path / "ours", tmp_path / "theirs", layout="transformers")
    classifier = getattr(transformers, f"{family}ForImageClassification")
    theirs, said = classifier.from_pretrained(tmp_path / "theirs", output_loading_info=True)
    assert not any(said.values())
    assert theirs.config.id2label == dict(enumerate(CLASSES))
    pictures = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(theirs.eval()(pictures).logits, model(pictures), atol=1e-5, rtol=0)


def test_what_transformers_cannot_say_is_refused(tmp_path):
    saved(tmp_path / "ours", window=((4, 4), (2, 2)))
    with pytest.raises(UserError, match="one square window for all stages"):
        convert(tmp_path / "ours", tmp_path / "theirs", layout="transformers")
    saved(tmp_path / "oblong", window=(4, 2))
    with pytest.raises(UserError, match="one square window for all stages"):
        convert(tmp_path / "oblong", tmp_path / "theirs", layout="transformers")


def test_class_names_survive_transformers(tmp_path):
    saved(tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "theirs", layout="transformers")
    report = convert(tmp_path / "theirs", tmp_path / "again", layout="muntin")
    assert load_model(tmp_path / "again").classes == CLASSES
    assert "class names" not in report.table()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"inputs": {"bla": 1}}, "unknown field of inputs 'bla'"),
        ({"classes": ["a"], "num_classes": 1}, "is for 3 classes, and config.json names 1"),
        ({"kind": "dragon"}, "unknown kind 'dragon'"),
        ({"config": {**SMALL, "depths": [1, 10**9]}}, "depths"),
        ({"config": {**SMALL, "mlp_ratio": math.nan}}, "mlp_ratio is nan"),
    ],
)
def test_a_description_that_cannot_be_is_one_sentence(tmp_path, change, reason):
    saved(tmp_path / "ours")
    file = tmp_path / "ours" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": "muntin/1"} | change))
    with pytest.raises(UserError, match=reason):
        convert(tmp_path / "ours", tmp_path / "theirs", layout="transformers")
    assert not (tmp_path / "theirs").exists()


def test_memory_is_not_asked_for_on_the_word_of_a_description(tmp_path):
    saved(tmp_path / "ours")
    file = tmp_path / "ours" / "config.json"
    huge = {"format": "muntin/1", "config": {"dim": 1 << 13, "depths": [100, 100], "heads": [1, 2]}}
    file.write_text(json.dumps(json.loads(file.read_text()) | huge))
    with pytest.raises(UserError, match=r"describes [\d,]+ parameters, and its weights have"):
        load_model(tmp_path / "ours")


def test_a_file_is_no_place_for_a_folder_nor_a_folder_for_a_file(tmp_path):
    saved(tmp_path / "ours")
    (tmp_path / "file.pth").write_bytes(b"")
    (tmp_path / "folder.pth").mkdir()
    for out, layout in (("file.pth", "muntin"), ("folder.pth", "timm")):
        with pytest.raises(UserError, match="is to be written; choose another place"):
            convert(tmp_path / "ours", tmp_path / out, layout=layout, overwrite=True)


def test_an_image_size_that_no_picture_has_is_refused(tmp_path):
    saved(tmp_path / "ours")
    with pytest.raises(UserError, match="image_size"):
        adapt(tmp_path / "ours", tmp_path / "new", image_size=10**7)
    assert not (tmp_path / "new").exists()


def test_a_swin_v2_of_ones_own_size_comes_back_from_official_names(tmp_path):
    fields = {"dim": 8, "depths": (1, 1), "heads": (1, 2), "window": (6, 6)}
    model = create_model("swin_v2_tiny_window8", num_classes=2, **fields).eval()
    sizes = PictureInput(image_size=(32, 32)).to_dict()
    save_model(tmp_path / "a", "swin_v2_tiny_window8", model, kind="classifier", classes=("x", "y"), inputs=sizes)
    convert(tmp_path / "a", tmp_path / "b.pth", layout="official")
    convert(tmp_path / "b.pth", tmp_path / "c", layout="muntin")
    picture = torch.randn(1, 3, 32, 32)  # the last map is 4 x 4, smaller than the window
    assert torch.equal(load_model(tmp_path / "c").model(picture), model(picture))
    convert(tmp_path / "a", tmp_path / "d.pth", layout="timm")
    with pytest.raises(UserError, match="does not tell its windows, and is of no published size"):
        convert(tmp_path / "d.pth", tmp_path / "e", layout="muntin")


def test_the_picture_size_comes_back_from_a_folder_of_transformers(tmp_path):
    model = create_model("swin_tiny", num_classes=2, dim=8, depths=(1, 1), heads=(1, 2), window=(4, 4))
    sizes = PictureInput(image_size=(64, 64)).to_dict()
    save_model(tmp_path / "a", "swin_tiny", model, kind="classifier", classes=("x", "y"), inputs=sizes)
    convert(tmp_path / "a", tmp_path / "b", layout="transformers")
    convert(tmp_path / "b", tmp_path / "c", layout="muntin")
    assert load_model(tmp_path / "c").preprocess["image_size"] == [64, 64]


# --- what a file does not tell


def test_the_arrays_of_vit_are_for_pixels_from_minus_one_to_one(tmp_path):
    saved(tmp_path / "ours", "vit_tiny_patch16")
    convert(tmp_path / "ours", tmp_path / "vit.npz", layout="official")
    notes = convert(tmp_path / "vit.npz", tmp_path / "back", layout="muntin").notes
    assert load_model(tmp_path / "back").preprocess["mean"] == [0.5, 0.5, 0.5]
    assert any("mean [0.5, 0.5, 0.5]" in note and "ImageNet" not in note for note in notes)
    adapt(tmp_path / "back", tmp_path / "grey", in_chans=1)
    assert load_model(tmp_path / "grey").preprocess["std"] == [0.5]


def test_the_preprocessor_beside_a_folder_of_transformers_is_read(tmp_path):
    saved(tmp_path / "ours", "deit_tiny")
    convert(tmp_path / "ours", tmp_path / "theirs", layout="transformers")
    told = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    (tmp_path / "theirs" / "preprocessor_config.json").write_text(json.dumps(told))
    convert(tmp_path / "theirs", tmp_path / "back", layout="muntin")
    values = load_model(tmp_path / "back").preprocess
    assert (values["mean"], values["std"]) == (told["image_mean"], told["image_std"])


def test_a_cvt_of_transformers_tells_its_heads(tmp_path):
    saved(tmp_path / "ours", "cvt_13", heads=(1, 1, 2))
    report = convert(tmp_path / "ours", tmp_path / "theirs", layout="transformers")
    assert any("exact GELU" in note for note in report.notes)
    convert(tmp_path / "theirs", tmp_path / "back", layout="muntin")
    assert load_model(tmp_path / "back").model.backbone.config.heads == (1, 1, 2)


def test_a_model_whose_gelu_timm_has_to_be_told_is_written_with_a_note(tmp_path):
    for name, noted in (("vit_tiny_patch16", True), ("deit_tiny", False)):
        saved(tmp_path / name, name)
        report = convert(tmp_path / name, tmp_path / f"{name}.safetensors", layout="timm")
        assert any("gelu_tanh" in note for note in report.notes) is noted


def test_the_stem_of_a_resnet_takes_other_channels(tmp_path):
    saved(tmp_path / "ours", "convnext_roadmap_00")
    adapt(tmp_path / "ours", tmp_path / "grey", in_chans=1)
    with torch.inference_mode():
        grey = load_model(tmp_path / "grey").model(PICTURE[:, :1])
        expected = load_model(tmp_path / "ours").model(PICTURE[:, :1].expand(-1, 3, -1, -1))
    torch.testing.assert_close(grey, expected, atol=1e-5, rtol=1e-5)


def test_only_a_swin_v2_has_a_bias_to_freeze(tmp_path):
    saved(tmp_path / "ours", "deit_tiny")
    with pytest.raises(UserError, match=r"is a ViT, .*; leave freeze_bias out"):
        adapt(tmp_path / "ours", tmp_path / "x", freeze_bias=True)


@pytest.mark.parametrize("ratio", [0.0, 0.8])
def test_transformers_prepares_pictures_as_a_converted_folder_says(tmp_path, ratio):
    vision.functional()
    transformers = pytest.importorskip("transformers")
    values = PictureInput(image_size=(64, 64), crop_ratio=ratio, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    model = create_model("convnext_tiny", num_classes=3, dims=(8, 16), depths=(1, 1))
    save_model(tmp_path / "ours", "convnext_tiny", model, kind="classifier", classes=CLASSES, inputs=values.to_dict())
    convert(tmp_path / "ours", tmp_path / "theirs", layout="transformers")
    prepare = transformers.AutoImageProcessor.from_pretrained(tmp_path / "theirs", backend="pil")
    pixels = np.random.default_rng(0).integers(0, 255, (160, 192, 3), dtype=np.uint8)  # 80 x 96: even rims to crop
    theirs = prepare(Image.fromarray(pixels), return_tensors="pt")["pixel_values"][0]
    sample = picture_sample(Image.fromarray(pixels), "pixels")
    ours = values.eval_transform()(sample, np.random.default_rng(0)).inputs["image"]
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=0)


def test_windows_that_are_no_squares_are_not_guessed(tmp_path):
    saved(tmp_path / "ours", "swin_tiny", window=(3, 5))
    convert(tmp_path / "ours", tmp_path / "bare.pth", layout="official")
    with pytest.raises(UserError, match=r"is no whole swin_tiny: .* should be"):
        convert(tmp_path / "bare.pth", tmp_path / "again", layout="muntin")
