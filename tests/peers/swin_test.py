"""Weights of timm, torchvision and transformers in our models, and ours in theirs: the same outputs.

Pictures are not square, and no map is as small as a window: there timm and torchvision choose window and shift axis by
axis, the official code and we by the shorter side. Where a window does not divide a map, timm pads after the shift and
everybody else before it. Small windows keep pictures small. All parameters are random, also those that begin at 0 or 1:
Swin V2's norms begin at 0, and would hide all else.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from muntin import create_model
from muntin.catalog import family_of
from muntin.formats.swin import read, write
from muntin.heads import LevelNorms
from muntin.models import Swin, SwinConfig
from muntin.tasks import Classifier, SimMIM

from .library import CLASSES, assert_equal, library, logits, picture, randomise


class Shape(NamedTuple):
    """One network, and a picture for it."""

    muntin: str
    timm: str
    dim: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int
    size: tuple[int, int]  # pixels

    @property
    def v2(self) -> bool:
        return "v2" in self.muntin


TINY = Shape("swin_tiny", "swin_tiny_patch4_window7_224", 96, (2, 2, 6, 2), (3, 6, 12, 24), 3, (192, 288))
BASE = Shape("swin_base", "swin_base_patch4_window7_224", 128, (2, 2, 18, 2), (4, 8, 16, 32), 2, (128, 192))
TINY_V2 = Shape("swin_v2_tiny_window8", "swinv2_tiny_window8_256", 96, (2, 2, 6, 2), (3, 6, 12, 24), 3, (192, 288))
SHAPES = [pytest.param(shape, id=shape.muntin) for shape in (TINY, BASE, TINY_V2)]
SMALL = {"dim": 24, "depths": (2, 2, 1, 1), "heads": (1, 2, 4, 8)}
PADDED = [  # no map divides by the window
    pytest.param(shape._replace(**SMALL, size=(104, 136)), id=f"{shape.muntin}-padded") for shape in (TINY, TINY_V2)
]


# --- the same network from everybody ---------------------------------------------------------------------------------


def ours(shape: Shape) -> Classifier:
    sizes = {"dim": shape.dim, "depths": shape.depths, "heads": shape.heads, "window": shape.window}
    return create_model(shape.muntin, **sizes, num_classes=CLASSES).eval()


def timm(shape: Shape) -> nn.Module:
    size = {"img_size": shape.size, "window_size": shape.window}
    return library("timm").create_model(shape.timm, num_classes=CLASSES, **size).eval()


def torchvision(shape: Shape) -> nn.Module:
    swin = library("torchvision.models.swin_transformer")
    v2 = {"block": swin.SwinTransformerBlockV2, "downsample_layer": swin.PatchMergingV2} if shape.v2 else {}
    sizes = ([4, 4], shape.dim, list(shape.depths), list(shape.heads), [shape.window] * 2)
    return swin.SwinTransformer(*sizes, num_classes=CLASSES, **v2).eval()


def transformers(shape: Shape) -> nn.Module:
    return hugging_face("ForImageClassification", shape).eval()


def hugging_face(kind: str, shape: Shape, **options: Any) -> Any:
    family = "Swinv2" if shape.v2 else "Swin"
    config = getattr(library("transformers"), f"{family}Config")(
        image_size=shape.size[0] if shape.size[0] == shape.size[1] else shape.size,
        embed_dim=shape.dim,
        depths=list(shape.depths),
        num_heads=list(shape.heads),
        window_size=shape.window,
        num_labels=CLASSES,
        **options,
    )
    return getattr(library("transformers"), family + kind)(config)


PEERS: dict[str, Callable[[Shape], nn.Module]] = {
    "timm": timm,
    "torchvision": torchvision,
    "transformers": transformers,
}


# --- classifiers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "shape"),
    [pytest.param(peer, *p.values, id=f"{peer}-{p.id}") for peer in PEERS for p in SHAPES + PADDED * (peer != "timm")],
)
def test_their_weights_in_our_model_give_their_logits(peer, shape):
    theirs, model, image = PEERS[peer](shape), ours(shape), picture(shape.size)
    randomise(theirs, seed=1)
    found = read(theirs.state_dict())
    assert found.layout == peer
    model.load_state_dict(found.tensors)
    assert_equal(logits(model, image), logits(theirs, image))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("peer", ["timm", "torchvision"])
def test_our_weights_in_their_model_give_our_logits(peer, shape):
    theirs, model, image = PEERS[peer](shape), ours(shape), picture(shape.size)
    randomise(model, seed=2)
    buffers = family_of(model.backbone).buffers(peer, model.backbone.config, shape.size)
    theirs.load_state_dict(write(model.state_dict(), peer) | buffers)
    assert_equal(logits(theirs, image), logits(model, image))


@pytest.mark.parametrize("shape", SHAPES)
def test_our_weights_in_a_folder_of_transformers_give_our_logits(shape, tmp_path):
    theirs, model, image = transformers(shape), ours(shape), picture(shape.size)
    randomise(model, seed=3)
    loaded = from_folder(theirs, write(model.state_dict(), "transformers"), tmp_path)
    assert_equal(logits(loaded, image), logits(model, image))


def from_folder(like: Any, state: dict[str, Tensor], place: Path) -> Any:
    """What from_pretrained makes of a config and a file, every tensor of which must be found and used."""
    like.config.save_pretrained(place)
    save_file(state, place / "model.safetensors", metadata={"format": "pt"})
    model, account = type(like).from_pretrained(place, output_loading_info=True)
    assert not any(account.values()), account
    return model.eval()


@pytest.mark.parametrize("shape", [TINY, TINY_V2], ids=["v1", "v2"])
def test_a_file_of_transformers_has_other_names_than_its_model_and_is_read_too(shape, tmp_path):
    theirs = transformers(shape._replace(**SMALL))
    theirs.save_pretrained(tmp_path)
    in_file, in_memory = read(load_file(tmp_path / "model.safetensors")), read(theirs.state_dict())
    assert in_file.layout == in_memory.layout == "transformers"
    assert in_file.tensors.keys() == in_memory.tensors.keys()
    assert all(torch.equal(in_file.tensors[key], tensor) for key, tensor in in_memory.tensors.items())


# --- backbones and pre-training --------------------------------------------------------------------------------------

SMALL_TINY = TINY._replace(**SMALL)


def small_backbone(**options: Any) -> Swin:
    return Swin(SwinConfig(**SMALL, window=(3, 3), **options)).eval()


def test_timm_features_are_the_levels_of_our_backbone():
    sizes = {"embed_dim": SMALL["dim"], "depths": SMALL["depths"], "num_heads": SMALL["heads"]}
    sizes |= {"img_size": TINY.size, "window_size": TINY.window}
    theirs = library("timm").create_model(TINY.timm, features_only=True, **sizes).eval()
    randomise(theirs, seed=4)
    backbone = small_backbone()
    found = read(theirs.state_dict()).tensors
    backbone.load_state_dict({key.removeprefix("backbone."): tensor for key, tensor in found.items()})
    with torch.inference_mode():
        for level, expected in zip(backbone(picture(TINY.size)).levels, theirs(picture(TINY.size)), strict=True):
            assert_equal(level.movedim(1, -1), expected)


def test_the_maps_of_a_transformers_backbone_are_our_normalised_levels(tmp_path):
    stages = [f"stage{i}" for i in (1, 2, 3, 4)]
    theirs = hugging_face("Backbone", SMALL_TINY, out_features=stages).eval()
    randomise(theirs, seed=5)
    model = nn.ModuleDict({"backbone": small_backbone(small_map="keep")})
    model["norms"] = LevelNorms(model["backbone"].channels)
    found = read(theirs.state_dict())
    assert set(found.dropped) == {"swin.layernorm.weight", "swin.layernorm.bias"}
    model.load_state_dict(found.tensors)
    image = picture(SMALL_TINY.size)
    with torch.inference_mode():
        levels = model["norms"](model["backbone"](image).levels)
        for level, expected in zip(levels, theirs(image).feature_maps, strict=True):
            assert_equal(level, expected)
        loaded = from_folder(theirs, write(found.tensors, "transformers"), tmp_path)
        for level, expected in zip(levels, loaded(image).feature_maps, strict=True):
            assert_equal(level, expected)


def test_transformers_masked_image_modelling_is_our_simmim(tmp_path):
    square = SMALL_TINY._replace(size=(128, 128))  # it takes every number of cells for that of a square
    theirs = hugging_face("ForMaskedImageModeling", square, encoder_stride=32).eval()
    randomise(theirs, seed=6)
    model = SimMIM(small_backbone()).eval()
    found = read(theirs.state_dict()).tensors
    model.load_state_dict(found)
    image, mask = picture(square.size), torch.rand(1, 32, 32) < 0.5
    with torch.inference_mode():
        expected = model.reconstruct(image, mask)
        assert_equal(theirs(image, bool_masked_pos=mask.flatten(1)).reconstruction, expected)
        loaded = from_folder(theirs, write(found, "transformers"), tmp_path)
        assert_equal(loaded(image, bool_masked_pos=mask.flatten(1)).reconstruction, expected)


def test_a_bare_transformers_model_gives_backbone_and_last_norm():
    theirs = hugging_face("Model", SMALL_TINY)
    found = read(theirs.state_dict()).tensors
    expected = {f"backbone.{key}" for key in small_backbone().state_dict()}
    assert found.keys() == expected | {"readout.norm.weight", "readout.norm.bias"}
