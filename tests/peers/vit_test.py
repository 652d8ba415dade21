"""Weights of timm, torchvision and transformers in our ViT, DeiT and BEiT, and ours in theirs: the same outputs.

Pictures are not square where the peer takes such. All parameters are random, also those that begin at 0 or 1: class
tokens and layer scale begin at 0 or near it, and would hide all else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from muntin.formats import beit as beit_files
from muntin.formats import vit as vit_files
from muntin.heads import DistilledReadout, MeanNormReadout, PooledReadout, TokenReadout
from muntin.models.beit import BEiT, BEiTConfig
from muntin.models.deit import DeiT, DeiT3, DeiT3Config, DeiTConfig
from muntin.models.vit import EPS, ViT, ViTConfig
from muntin.models.vit_hybrid import HybridViT, HybridViTConfig
from muntin.tasks import Classifier, SimMIM

from .library import CLASSES, assert_equal, library, logits, picture

SIZES: dict[str, Any] = {"dim": 48, "depth": 3, "heads": 3, "mlp_ratio": 4.0}
LIKE_TORCH: dict[str, Any] = {"gelu": "erf", "position_resample": "bicubic"}  # unlike the original in JAX
WIDE, SQUARE = (48, 80), (64, 64)  # pixels
READOUTS = {
    "token": TokenReadout,
    "gap": PooledReadout,
    "mean_norm": MeanNormReadout,
    "distilled": DistilledReadout,
}


class Peer(NamedTuple):
    """One network, theirs and ours, and a picture for it."""

    layout: str
    theirs: Callable[[], nn.Module]
    ours: Callable[[], nn.Module]
    size: tuple[int, int]
    files: Any = vit_files
    readout: str = ""  # what is classified, where tensors do not tell


# --- the same network from everybody ---------------------------------------------------------------------------------


def grid(size: tuple[int, int], stride: int = 16) -> tuple[int, int]:
    return size[0] // stride, size[1] // stride


def vit(size: tuple[int, int], **options: Any) -> Classifier:
    config = ViTConfig(**SIZES, **LIKE_TORCH, grid=grid(size), **options)
    return classifier(ViT(config), config.readout, representation=config.representation)


def deit(size: tuple[int, int], readout: str = "distilled") -> Classifier:
    return classifier(DeiT(DeiTConfig(**SIZES, grid=grid(size), distilled=True)), readout)


def deit3(size: tuple[int, int]) -> Classifier:
    return classifier(DeiT3(DeiT3Config(**SIZES, grid=grid(size))), "token")


def hybrid(size: tuple[int, int], stride: int, **options: Any) -> Classifier:
    config = HybridViTConfig(**SIZES, **LIKE_TORCH, grid=grid(size, stride), **options)
    return classifier(HybridViT(config), "token")


def beit(size: tuple[int, int], **options: Any) -> Classifier:
    config = BEiTConfig(**SIZES, grid=grid(size), **options)
    return classifier(BEiT(config), config.readout)


def classifier(backbone: Any, readout: str, **options: Any) -> Classifier:
    options = {k: v for k, v in options.items() if v}
    return Classifier(backbone, CLASSES, partial(READOUTS[readout], eps=EPS, **options))


def timm(name: str, size: tuple[int, int], **options: Any) -> nn.Module:
    sizes = {"embed_dim": SIZES["dim"], "depth": SIZES["depth"], "num_heads": SIZES["heads"], "img_size": size}
    return library("timm").create_model(name, num_classes=CLASSES, **sizes, **options)


def torchvision(**options: Any) -> nn.Module:
    sizes = (SQUARE[0], 16, SIZES["depth"], SIZES["heads"], SIZES["dim"], 4 * SIZES["dim"])
    return library("torchvision.models.vision_transformer").VisionTransformer(*sizes, num_classes=CLASSES, **options)


def transformers(kind: str, size: tuple[int, int], **options: Any) -> Any:
    family = kind.partition("For")[0].removesuffix("Model")
    config = getattr(library("transformers"), f"{family}Config")(
        image_size=size[0] if size[0] == size[1] else size,
        hidden_size=SIZES["dim"],
        num_hidden_layers=SIZES["depth"],
        num_attention_heads=SIZES["heads"],
        intermediate_size=4 * SIZES["dim"],
        num_labels=CLASSES,
        layer_norm_eps=EPS,
        **options,
    )
    return getattr(library("transformers"), kind)(config)


TIMM_VIT, TIMM_BEIT = "vit_base_patch16_224", "beit_base_patch16_224"
WITHOUT_TOKEN = {"class_token": False, "global_pool": "avg"}
R26 = {"stem": (2, 2, 2, 2)}
PEERS = {
    "timm ViT": Peer("timm", lambda: timm(TIMM_VIT, WIDE), lambda: vit(WIDE), WIDE),
    "timm ViT without class token": Peer(
        "timm",
        lambda: timm(TIMM_VIT, WIDE, fc_norm=False, **WITHOUT_TOKEN),
        lambda: vit(WIDE, class_token=False, readout="gap"),
        WIDE,
    ),
    "timm ViT, mean before norm": Peer(
        "timm",
        lambda: timm("vit_base_patch16_224.mae", WIDE, global_pool="avg"),
        lambda: vit(WIDE, readout="mean_norm"),
        WIDE,
        readout="mean_norm",
    ),
    "timm distilled DeiT": Peer(
        "timm", lambda: timm("deit_tiny_distilled_patch16_224", WIDE), lambda: deit(WIDE), WIDE
    ),
    "timm DeiT III": Peer("timm", lambda: timm("deit3_small_patch16_224", WIDE), lambda: deit3(WIDE), WIDE),
    "timm R26": Peer(
        "timm", lambda: timm("vit_small_r26_s32_224", (64, 128)), lambda: hybrid((64, 128), 32, **R26), (64, 128)
    ),
    "timm R+Ti": Peer(
        "timm",
        lambda: timm("vit_tiny_r_s16_p8_224", (64, 96)),
        lambda: hybrid((64, 96), 32, patch=(8, 8), stem=()),
        (64, 96),
    ),
    "timm BEiT": Peer("official", lambda: timm(TIMM_BEIT, WIDE), lambda: beit(WIDE), WIDE, beit_files),
    "timm BEiT, one bias": Peer(
        "official",
        lambda: timm(TIMM_BEIT, WIDE, use_shared_rel_pos_bias=True, use_rel_pos_bias=False, global_pool="token"),
        lambda: beit(WIDE, shared_bias=True, readout="token"),
        WIDE,
        beit_files,
        "token",
    ),
    "torchvision": Peer("torchvision", torchvision, lambda: vit(SQUARE), SQUARE),
    "torchvision with representation": Peer(
        "torchvision", lambda: torchvision(representation_size=24), lambda: vit(SQUARE, representation=24), SQUARE
    ),
    "transformers ViT": Peer(
        "transformers", lambda: transformers("ViTForImageClassification", WIDE), lambda: vit(WIDE), WIDE
    ),
    "transformers DeiT": Peer(
        "transformers",
        lambda: transformers("DeiTForImageClassification", WIDE),
        lambda: deit(WIDE, readout="token"),
        WIDE,
    ),
    "transformers DeiT with teacher": Peer(
        "transformers",
        lambda: transformers("DeiTForImageClassificationWithTeacher", WIDE),
        lambda: deit(WIDE),
        WIDE,
    ),
}
ALL = pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)


@torch.no_grad()
def randomise(model: nn.Module, seed: int) -> None:
    """Every parameter and its neighbours differ, at a size that keeps the signal: norms about 1, biases about 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if re.search(r"(norm\w*|ln\w*)\.weight", name):
            parameter.copy_(1 + 0.2 * noise)
        elif parameter.ndim == 1 or name.endswith("table"):
            parameter.copy_(0.2 * noise)
        elif ".stem." in name or "patch_embed.backbone" in name:
            parameter.copy_(10 * noise)  # kernels that are standardised: so large that nobody's epsilon counts
        else:
            parameter.copy_(noise / math.sqrt(parameter[0].numel()))


# --- classifiers -----------------------------------------------------------------------------------------------------


@ALL
def test_their_weights_in_our_model_give_their_logits(peer):
    theirs, model, image = peer.theirs(), peer.ours(), picture(peer.size)
    randomise(theirs, seed=1)
    found = peer.files.read(theirs.state_dict(), tuple(model.backbone.config.grid))
    assert found.layout == peer.layout
    model.load_state_dict(found.tensors)
    assert_equal(logits(model, image), logits(theirs, image))


@ALL
def test_what_their_files_tell_is_how_our_model_is_built(peer):
    config = peer.ours().backbone.config
    found = peer.files.read(peer.theirs().state_dict(), tuple(config.grid))
    fields = {**peer.files.sizes(found.tensors).fields, **found.settings}
    assert replace(config, **fields) == config


@ALL
def test_our_weights_in_their_model_give_our_logits(peer, tmp_path):
    theirs, model, image = peer.theirs(), peer.ours(), picture(peer.size)
    randomise(model, seed=2)
    written = peer.files.write(model.state_dict(), peer.layout, {"readout": peer.readout} if peer.readout else {})
    if peer.layout == "transformers":
        theirs = from_folder(theirs, written, tmp_path)
    else:
        theirs.load_state_dict(written)
    assert_equal(logits(theirs, image), logits(model, image))


def from_folder(like: Any, state: dict[str, Tensor], place: Path) -> Any:
    """What from_pretrained makes of a config and a file, every tensor of which must be found and used."""
    like.config.save_pretrained(place)
    save_file(state, place / "model.safetensors", metadata={"format": "pt"})
    model, account = type(like).from_pretrained(place, output_loading_info=True)
    assert not any(account.values()), account
    return model


@pytest.mark.parametrize("kind", ["ViTForImageClassification", "DeiTForImageClassificationWithTeacher", "ViTModel"])
def test_a_file_of_transformers_has_other_names_than_its_model_and_is_read_too(kind, tmp_path):
    theirs = transformers(kind, SQUARE)
    theirs.save_pretrained(tmp_path)
    in_file = vit_files.read(load_file(tmp_path / "model.safetensors"))
    in_memory = vit_files.read(theirs.state_dict())
    assert in_file.layout == in_memory.layout == "transformers"
    assert in_file.tensors.keys() == in_memory.tensors.keys()
    assert all(torch.equal(in_file.tensors[key], tensor) for key, tensor in in_memory.tensors.items())


# --- bare models and pre-training ------------------------------------------------------------------------------------


def test_the_pooler_of_a_bare_transformers_vit_is_our_representation(tmp_path):
    theirs = transformers("ViTModel", WIDE)
    randomise(theirs, seed=4)
    model = Classifier(vit(WIDE).backbone, 0, partial(TokenReadout, eps=EPS, representation=48))
    found = vit_files.read(theirs.state_dict(), grid(WIDE))
    model.load_state_dict(found.tensors)
    with torch.inference_mode():
        expected = theirs.eval()(picture(WIDE)).pooler_output
        assert_equal(model.eval()(picture(WIDE)), expected)
        loaded = from_folder(theirs, vit_files.write(found.tensors, "transformers"), tmp_path).eval()
        assert_equal(loaded(picture(WIDE)).pooler_output, expected)


def test_the_pooler_of_a_bare_transformers_deit_is_left_aside():
    found = vit_files.read(transformers("DeiTModel", SQUARE).state_dict())
    assert set(found.dropped) == {"pooler.dense.weight", "pooler.dense.bias"}
    backbone = {f"backbone.{key}" for key in deit(SQUARE).backbone.state_dict()}
    assert found.tensors.keys() == backbone | {"readout.norm.weight", "readout.norm.bias"}


@pytest.mark.parametrize("family", ["ViT", "DeiT"])
def test_transformers_masked_image_modelling_is_our_simmim(family, tmp_path):
    theirs = transformers(f"{family}ForMaskedImageModeling", SQUARE, encoder_stride=16)
    randomise(theirs, seed=6)
    model = SimMIM((vit if family == "ViT" else deit)(SQUARE).backbone).eval()
    model.norm.eps = EPS
    found = vit_files.read(theirs.state_dict()).tensors
    model.load_state_dict(found)
    image, mask = picture(SQUARE), torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(0)) < 0.5
    with torch.inference_mode():
        expected = model.reconstruct(image, mask)
        assert_equal(theirs.eval()(image, bool_masked_pos=mask.flatten(1)).reconstruction, expected)
        loaded = from_folder(theirs, vit_files.write(found, "transformers"), tmp_path).eval()
        assert_equal(loaded(image, bool_masked_pos=mask.flatten(1)).reconstruction, expected)
