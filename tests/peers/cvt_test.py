"""Weights of transformers' CvT in ours, and ours in it: the same logits, once it has the official QuickGELU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from muntin.catalog.cvt import readout
from muntin.formats.cvt import read, write
from muntin.layers.blocks import QuickGELU
from muntin.models.cvt import VARIANTS, CvT, CvTConfig
from muntin.tasks import Classifier

from .library import assert_equal, library, logits, picture, randomise

CLASSES, SIZE = 5, (61, 90)  # odd maps in two stages
CONFIGS = {
    "cvt_13": VARIANTS["cvt_13"],
    "other kernels, strides and biases": CvTConfig(  # it cannot classify without a class token
        dims=(16, 32, 48),
        depths=(1, 2, 3),
        heads=(1, 2, 3),
        kernel=(3, 5, 3),
        kv_stride=(2, 1, 2),
        mlp_ratio=(2.0, 4.0, 3.0),
        qkv_bias=(False, True, False),
    ),
}


def ours(config: CvTConfig) -> Classifier:
    return Classifier(CvT(config), CLASSES, readout(config)).eval()


def transformers(config: CvTConfig) -> Any:
    """The same network, with the activation of the official code in place of the exact GELU."""
    values = library("transformers").CvtConfig(
        patch_sizes=config.embed_kernel,
        patch_stride=config.embed_stride,
        patch_padding=config.embed_padding,
        embed_dim=config.dims,
        depth=config.depths,
        num_heads=config.heads,
        mlp_ratio=config.mlp_ratio,
        qkv_bias=config.qkv_bias,
        cls_token=config.class_token,
        kernel_qkv=config.kernel,
        padding_q=[kernel // 2 for kernel in config.kernel],
        padding_kv=[kernel // 2 for kernel in config.kernel],
        stride_kv=config.kv_stride,
        num_labels=CLASSES,
    )
    return with_quick_gelu(library("transformers").CvtForImageClassification(values))


def with_quick_gelu(model: Any) -> Any:
    for module in model.modules():
        if isinstance(getattr(module, "activation", None), nn.GELU):
            module.activation = QuickGELU()
    return model.eval()


@torch.no_grad()
def randomise_statistics(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(0.2 * torch.randn(buffer.shape, generator=generator))
        elif name.endswith("running_var"):
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))


@pytest.fixture(params=CONFIGS)
def config(request) -> CvTConfig:
    return CONFIGS[request.param]


def test_their_weights_in_our_model_give_their_logits(config):
    theirs, model = transformers(config), ours(config)
    randomise(theirs, seed=1)
    randomise_statistics(theirs, seed=2)
    found = read(theirs.state_dict())
    assert (found.layout, found.dropped) == ("transformers", {})
    model.load_state_dict(found.tensors)
    assert_equal(logits(model, picture(SIZE)), logits(theirs, picture(SIZE)))


def test_our_weights_in_their_model_give_our_logits(config):
    theirs, model = transformers(config), ours(config)
    randomise(model, seed=3)
    randomise_statistics(model, seed=4)
    theirs.load_state_dict(write(model.state_dict(), "transformers"))
    assert_equal(logits(theirs, picture(SIZE)), logits(model, picture(SIZE)))


def test_a_folder_of_transformers_is_read_and_written(tmp_path: Path):
    theirs, model = transformers(VARIANTS["cvt_13"]), ours(VARIANTS["cvt_13"])
    randomise(theirs, seed=5)
    theirs.save_pretrained(tmp_path)
    model.load_state_dict(read(load_file(tmp_path / "model.safetensors")).tensors)
    written = write(model.state_dict(), "transformers")
    save_file(written, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded, account = type(theirs).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(account.values()), account
    assert_equal(logits(with_quick_gelu(loaded), picture(SIZE)), logits(model, picture(SIZE)))


def test_their_bare_model_gives_our_levels_and_class_token():
    theirs = transformers(VARIANTS["cvt_13"])
    randomise(theirs, seed=6)
    backbone = CvT(VARIANTS["cvt_13"]).eval()
    found = read(theirs.cvt.state_dict()).tensors
    backbone.load_state_dict({key.removeprefix("backbone."): tensor for key, tensor in found.items()})
    with torch.inference_mode():
        answer: Any = theirs.cvt(picture(SIZE), output_hidden_states=True)
        features = backbone(picture(SIZE))
    for level, expected in zip(features.levels, answer.hidden_states, strict=True):
        assert_equal(level, expected)
    token: Tensor = features.prefix
    assert_equal(token, answer.cls_token_value)


def test_their_exact_gelu_gives_other_logits():
    theirs, model = transformers(VARIANTS["cvt_13"]), ours(VARIANTS["cvt_13"])
    randomise(theirs, seed=7)
    model.load_state_dict(read(theirs.state_dict()).tensors)
    quick = logits(theirs, picture(SIZE))
    for module in theirs.modules():
        if isinstance(getattr(module, "activation", None), QuickGELU):
            module.activation = nn.GELU()
    assert (logits(theirs, picture(SIZE)) - quick).abs().max() > 1e-3
