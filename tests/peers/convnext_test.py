"""Weights of timm, torchvision and transformers in our ConvNeXt, and ours in theirs: the same outputs at odd sizes.

And torchvision's ResNet-50 in step 0 of the roadmap. All parameters are random, scales of branches about 0.5: where
they begin, near 0, they would hide all else.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from muntin.catalog.convnext import readout
from muntin.formats import convnext as files
from muntin.formats import convnext_roadmap as roadmap_files
from muntin.heads import LevelNorms, MeanReadout
from muntin.models.convnext import EPS, VARIANTS, ConvNeXt
from muntin.models.convnext_roadmap import VARIANTS as STEPS
from muntin.models.convnext_roadmap import Roadmap
from muntin.tasks import Classifier

from .library import CLASSES, assert_equal, library, logits, picture

SIZES = [(75, 109), (64, 96)]  # rounded down in the stem and between stages; and divided without a rest
CONFIG = dataclasses.replace(VARIANTS["convnext_tiny"], dims=(16, 24, 40, 56), depths=(2, 1, 3, 1))


def timm(**options: Any) -> nn.Module:
    return library("timm").create_model(
        "convnext_tiny", dims=CONFIG.dims, depths=CONFIG.depths, num_classes=CLASSES, **options
    )


def timm_of_convolutions() -> nn.Module:
    return timm(conv_mlp=True)


def torchvision() -> nn.Module:
    convnext = library("torchvision.models.convnext")
    dims = [*CONFIG.dims, None]
    stages = [convnext.CNBlockConfig(*row) for row in zip(dims, dims[1:], CONFIG.depths)]
    return convnext.ConvNeXt(stages, num_classes=CLASSES)


def transformers(kind: str = "ForImageClassification", **options: Any) -> nn.Module:
    config = library("transformers").ConvNextConfig(
        hidden_sizes=list(CONFIG.dims), depths=list(CONFIG.depths), num_labels=CLASSES, **options
    )
    return getattr(library("transformers"), f"ConvNext{kind}")(config)


PEERS: dict[str, Callable[[], nn.Module]] = {
    "timm": timm,
    "timm, 1x1 convolutions": timm_of_convolutions,
    "torchvision": torchvision,
    "transformers": transformers,
}


def ours() -> Classifier:
    return Classifier(ConvNeXt(CONFIG), CLASSES, readout(CONFIG)).eval()


@torch.no_grad()
def randomise(model: nn.Module, seed: int) -> nn.Module:
    """Every number differs, at a size that keeps the signal: norms about 1, scales about 0.5, biases about 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("running_var"):
            tensor.copy_(1 + 0.2 * noise.abs())
        elif name.endswith(("gamma", "layer_scale", "layer_scale_parameter")):
            tensor.copy_(0.5 + 0.1 * noise)
        elif tensor.ndim == 1:
            tensor.copy_((1 if name.endswith("weight") else 0) + 0.2 * noise)
        else:
            tensor.copy_(noise / math.sqrt(tensor[0].numel()))
    return model.eval()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("peer", PEERS)
def test_their_weights_give_their_outputs(peer, size):
    theirs, model = randomise(PEERS[peer](), 1), ours()
    found = files.read(theirs.state_dict())
    assert found.layout == peer.split(",")[0]
    model.load_state_dict(found.tensors)
    assert_equal(logits(model, picture(size)), logits(theirs, picture(size)))


@pytest.mark.parametrize("peer", [peer for peer in PEERS if "," not in peer])
def test_our_weights_give_our_outputs_there(peer):
    theirs, model = PEERS[peer]().eval(), randomise(ours(), 2)
    theirs.load_state_dict(files.write(model.state_dict(), peer))
    assert_equal(logits(theirs, picture(SIZES[0])), logits(model, picture(SIZES[0])))


def test_transformers_backbone_gives_the_same_levels():
    stages = [f"stage{i}" for i in range(1, 5)]
    theirs = randomise(transformers("Backbone", out_features=stages), 3)
    backbone = ConvNeXt(CONFIG)
    # transformers norms its levels with the 1e-6 of layers, in channels-first form
    model = nn.ModuleDict({"backbone": backbone, "norms": LevelNorms(CONFIG.dims, eps=EPS)}).eval()
    model.load_state_dict(files.read(theirs.state_dict()).tensors)
    with torch.inference_mode():
        expected = theirs(picture(SIZES[0])).feature_maps
        levels = model["norms"](model["backbone"](picture(SIZES[0])).levels)
    for one, other in zip(levels, expected, strict=True):
        assert_equal(one, other)


def test_timm_features_are_our_levels():
    theirs = randomise(timm(features_only=True), 4)
    model = ConvNeXt(CONFIG).eval()
    found = files.read(theirs.state_dict()).tensors
    model.load_state_dict({key.removeprefix("backbone."): tensor for key, tensor in found.items()})
    with torch.inference_mode():
        for one, other in zip(model(picture(SIZES[0])).levels, theirs(picture(SIZES[0])), strict=True):
            assert_equal(one, other)


@pytest.mark.parametrize("size", SIZES)
def test_step_0_of_the_roadmap_is_torchvisions_resnet50(size):
    theirs = randomise(library("torchvision.models").resnet50(num_classes=CLASSES), 5)
    model = Classifier(Roadmap(STEPS["convnext_roadmap_00"]), CLASSES, MeanReadout).eval()
    found = roadmap_files.read(theirs.state_dict())
    assert found.layout == "torchvision"
    model.load_state_dict(found.tensors)
    assert_equal(logits(model, picture(size)), logits(theirs, picture(size)))
    theirs.load_state_dict(roadmap_files.write(model.state_dict(), "torchvision"))
