import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from muntin.engine import checkpoint
from muntin.errors import UserError
from muntin.formats.swin import write
from muntin.models import Swin, SwinConfig
from muntin.weights.create import create_model
from muntin.weights.folder import save_model
from muntin.weights.inspect import inspect

SMALL = {"dim": 8, "depths": (2, 1), "heads": (1, 2), "window": 4}


@pytest.fixture
def folder(tmp_path):
    """A model folder of a small Swin V2."""
    model = create_model("swin_v2_tiny_window8", num_classes=2, **SMALL, pretrained_window=((6, 6), (3, 3)))
    save_model(tmp_path / "model", "swin_v2_tiny_window8", model, kind="classifier", classes=("a", "b"), inputs={})
    return tmp_path / "model"


def test_a_model_folder_tells_everything(folder):
    seen = inspect(folder)
    assert (seen.layout, seen.kind, seen.family, seen.model) == (
        "muntin",
        "classifier",
        "SwinV2",
        "swin_v2_tiny_window8",
    )
    assert (seen.depths, seen.dim, seen.heads, seen.in_chans) == ((2, 1), 8, (1, 2), 3)
    assert (seen.window, seen.pretrained_window) == (((4, 4), (4, 4)), ((6, 6), (3, 3)))
    assert (seen.num_classes, seen.classes) == (2, ("a", "b"))
    state = load_file(folder / "model.safetensors")
    assert (seen.tensors, seen.parameters) == (len(state), sum(t.numel() for t in state.values()))
    assert (seen.bytes, seen.checksum, seen.damage) == (
        (folder / "model.safetensors").stat().st_size,
        "verified",
        [],
    )
    assert inspect(folder / "model.safetensors") == seen


@pytest.mark.parametrize("layout", ["official", "timm", "torchvision", "transformers", "openmmlab"])
def test_a_published_model_is_named(tmp_path, layout):
    with torch.device("meta"):
        shapes = write(create_model("swin_base_window12", num_classes=10).state_dict(), layout)
    state = {key: torch.zeros(1).expand(tensor.shape) for key, tensor in shapes.items()}
    save_file(
        {key: tensor.to(torch.bfloat16).contiguous() for key, tensor in state.items()}, tmp_path / "a.safetensors"
    )
    seen = inspect(tmp_path / "a.safetensors")
    assert (seen.layout, seen.model, seen.differs, seen.also) == (layout, "swin_base_window12", {}, ())
    assert (seen.num_classes, seen.dtypes, seen.damage) == (10, {"bfloat16": len(state)}, [])


def test_a_backbone_inside_a_detector(tmp_path):
    backbone = Swin(SwinConfig(**SMALL | {"window": (4, 4), "absolute_position": (8, 8)}))
    state = write({f"backbone.{key}": tensor for key, tensor in backbone.state_dict().items()}, "dense")
    detector = {f"backbone.{key}": tensor for key, tensor in state.items()} | {"roi_head.weight": torch.ones(1)}
    torch.save({"state_dict": detector, "meta": {"epoch": 12}}, tmp_path / "detector.pth")
    seen = inspect(tmp_path / "detector.pth")
    assert (seen.layout, seen.kind, seen.num_classes, seen.damage) == ("dense", "backbone", 0, [])
    assert seen.wrapped_in.startswith("a detector")
    assert seen.differs["absolute_position"] == (8, 8)


def test_weights_of_something_else_are_no_damage(tmp_path):
    save_file({"conv1.weight": torch.ones(2)}, tmp_path / "resnet.safetensors")
    seen = inspect(tmp_path / "resnet.safetensors")
    assert (seen.layout, seen.tensors, seen.parameters, seen.damage) == (None, 1, 2, [])


def test_nothing_there_is_an_error(tmp_path):
    with pytest.raises(UserError, match="there is no model at"):
        inspect(tmp_path / "absent")


# --- damage ----------------------------------------------------------------------------------------------------------


def damage(place) -> str:
    (sentence,) = inspect(place).damage
    return sentence


def test_a_flipped_bit_is_named_and_the_rest_told(folder):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    seen = inspect(folder)
    assert (seen.checksum, seen.layout, seen.dim) == ("wrong", "muntin", 8)
    assert "other contents than were written" in seen.damage[0]


def test_a_changed_description(folder):
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"a"', '"c"'))
    assert "its own checksum differs" in damage(folder)


def test_a_file_that_is_cut_off(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:2000])
    seen = inspect(folder)
    assert any("bytes were written" in said or "were written" in said for said in seen.damage)
    assert any("cannot be read as safetensors" in said for said in seen.damage)


def bare(folder, change):
    """The tensors alone, changed."""
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder.parent / "bare.safetensors")
    return folder.parent / "bare.safetensors"


def test_missing_misshapen_and_strange_tensors(folder):
    key = "backbone.stages.1.0.mlp.fc1.bias"
    assert f"{key} is missing" in damage(bare(folder, lambda s: s.pop(key)))
    assert f"{key} is (3,) and should be (64,)" in damage(bare(folder, lambda s: s.update({key: torch.ones(3)})))
    assert "has keys it does not explain: backbone.gate" in damage(
        bare(folder, lambda s: s.update({"backbone.gate": torch.ones(3)}))
    )
    gone = "backbone.patch_embed.proj.weight"
    assert f"'{gone}' is missing" in damage(bare(folder, lambda s: s.pop(gone)))


def test_values_that_are_not_finite(folder):
    key = "backbone.stages.0.0.norm1.weight"
    assert f"1 tensors hold values that are not finite, such as {key}" in damage(
        bare(folder, lambda s: s[key].fill_(torch.nan))
    )


def test_the_model_of_a_checkpoint(folder, tmp_path):
    place = tmp_path / "checkpoints" / "step_00000003"
    checkpoint.save(
        place, {"x": torch.ones(1)}, {"updates": 3}, step=3, add=lambda new: shutil.copytree(folder, new / "model")
    )
    assert inspect(place).damage == []
    (place / "state.json").write_text("{}")
    assert "the checkpoint around it: state.json" in damage(place)


@pytest.mark.parametrize(
    ("name", "config", "told"),
    [
        ("vit_tiny_patch16", {"dim": 12, "depth": 2, "grid": (2, 2)}, ((2,), 12, 3)),
        ("convnext_tiny", {"dims": (8, 16), "depths": (2, 1)}, ((2, 1), 8, None)),
    ],
)
def test_depths_and_channels_of_families_with_other_words_for_them(tmp_path, name, config, told):
    model = create_model(name, num_classes=2, **config)
    save_model(tmp_path, name, model, kind="classifier", classes=("a", "b"), inputs={})
    seen = inspect(tmp_path)
    assert (seen.depths, seen.dim, seen.heads, seen.damage) == (*told, [])


def test_stages_left_out_are_damage(tmp_path):
    model = create_model("convnext_tiny", num_classes=2, dims=(8, 16), depths=(2, 1))
    far = {"backbone.stages.9999.0.norm.weight": torch.zeros(8)}
    save_file({**model.state_dict(), **far}, tmp_path / "x.safetensors")
    assert "backbone.stages.2" in inspect(tmp_path / "x.safetensors").damage[0]
