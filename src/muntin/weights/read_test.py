import pytest
import torch
from safetensors.torch import save_file

from muntin.catalog import FAMILIES, FILES
from muntin.errors import UserError
from muntin.weights.adapt import adapt
from muntin.weights.convert import convert
from muntin.weights.create import create_backbone, create_model
from muntin.weights.inspect import inspect
from muntin.weights.load import load_backbone
from muntin.weights.read import files_of, read

SMALL = {"dim": 8, "depths": (1, 1), "heads": (1, 2), "window": (3, 3)}
SENTENCE = r"names of Swin \(torchvision layout\), but features.0.0.weight is of shape .* a model for clips"


@pytest.fixture
def clip_file(tmp_path):
    """A Video Swin as torchvision writes it: the names of a Swin, and a kernel over two frames."""
    model = create_model("swin_tiny", num_classes=3, **SMALL)
    tensors = FAMILIES["swin"].files.write(model.state_dict(), "torchvision", {})
    tensors["features.0.0.weight"] = tensors["features.0.0.weight"][:, :, None].repeat(1, 1, 2, 1, 1)
    save_file(tensors, tmp_path / "clips.safetensors")
    return tmp_path / "clips.safetensors"


def test_a_model_for_clips_is_not_taken_for_the_one_for_pictures_with_the_same_names(clip_file, tmp_path):
    for use in (
        lambda: create_model("swin_tiny", num_classes=3, weights=clip_file, **SMALL),
        lambda: create_backbone("swin_tiny", weights=clip_file, resize="auto", **SMALL),
        lambda: convert(clip_file, tmp_path / "out", layout="muntin"),
        lambda: adapt(clip_file, tmp_path / "out", num_classes=2),
    ):
        with pytest.raises(UserError, match=SENTENCE):
            use()
    assert not (tmp_path / "out").exists()
    seen = inspect(clip_file)
    assert (seen.layout, seen.family, seen.model) == (None, None, None)


def test_a_model_for_clips_of_ones_own_loads_its_own_names():
    backbone = create_backbone("swin_tiny", **{**SMALL, "patch": (2, 4, 4), "window": (2, 3, 3)})
    state = {f"backbone.{key}": tensor for key, tensor in backbone.state_dict().items()}
    assert files_of(state) is None
    assert read(state).layout == "muntin"


def test_a_backbone_that_no_catalog_knows_is_saved_and_loaded(tmp_path):
    backbone = torch.nn.Linear(2, 3)
    backbone.config = object()
    save_file({f"backbone.{key}": tensor for key, tensor in backbone.state_dict().items()}, tmp_path / "x.safetensors")
    other = torch.nn.Linear(2, 3)
    other.config = object()
    assert load_backbone(other, tmp_path / "x.safetensors").layout == "muntin"
    assert torch.equal(other.weight, backbone.weight)


def test_no_file_of_one_family_is_one_of_another():
    for name in ("swin_tiny", "swin_v2_tiny_window8", "vit_tiny_patch16", "deit3_small", "beit_base", "cvt_13"):
        with torch.device("meta"):
            model = create_model(name)
        state = model.state_dict()
        assert [files.title for files in FILES if files.recognise(state)] == [files_of(state).title]
