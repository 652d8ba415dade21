import pytest
import torch
from torch import nn

from muntin.convert.swin import read, write
from muntin.errors import UserError
from muntin.heads import LevelNorms, PooledReadout
from muntin.models import Swin, SwinConfig, SwinV2, SwinV2Config

SHAPE = {"dim": 8, "depths": (2, 1), "heads": (1, 2), "window": (4, 4), "absolute_position": (3, 5)}
BACKBONES = {"v1": Swin(SwinConfig(**SHAPE)), "v2": SwinV2(SwinV2Config(**SHAPE))}


def ours(version: str, layout: str) -> dict[str, torch.Tensor]:
    """A state dict with the names that a classifier, a dense model or SimMIM has here."""
    parts = {"backbone": BACKBONES[version]}
    if layout == "classifier":
        parts["readout"] = PooledReadout(16, 3)
    elif layout == "dense":
        parts["norms"] = LevelNorms((8, 16), out_levels=(1,))
    else:
        parts |= {"norm": nn.LayerNorm(16), "decoder": nn.Linear(16, 12)}
    state = nn.ModuleDict(parts).state_dict()
    return state | {"mask_token": torch.randn(8)} if layout == "simmim" else dict(state)


@pytest.mark.parametrize("layout", ["classifier", "dense", "simmim"])
@pytest.mark.parametrize("version", BACKBONES)
def test_names_and_shapes_come_back(version, layout):
    state = ours(version, layout)
    official = write(state, layout)
    again = read(official, grid=(3, 5))
    assert again.keys() == state.keys()
    assert all(torch.equal(again[key], value) for key, value in state.items())


def test_official_names_are_the_published_ones():
    official = write(ours("v2", "classifier"), "classifier")
    assert official["layers.0.blocks.1.attn.cpb_mlp.0.weight"].shape == (512, 2)
    assert official["layers.0.blocks.1.attn.logit_scale"].shape == (1, 1, 1)
    assert official["layers.0.downsample.reduction.weight"].shape == (16, 32)
    assert official["absolute_pos_embed"].shape == (1, 15, 8)
    simmim = write(ours("v1", "simmim"), "simmim")
    assert simmim["encoder.mask_token"].shape == (1, 1, 8)
    assert simmim["decoder.0.weight"].shape == (12, 16, 1, 1)
    assert simmim["encoder.layers.0.blocks.0.attn.relative_position_bias_table"].shape == (49, 1)
    assert write(ours("v1", "dense"), "dense")["absolute_pos_embed"].shape == (1, 8, 3, 5)


def test_buffers_that_follow_from_sizes_are_optional():
    official = write(ours("v2", "classifier"), "classifier")
    attention = "layers.0.blocks.1.attn"
    buffers = (f"{attention}.relative_position_index", f"{attention}.relative_coords_table", f"{attention}_mask")
    assert read(official | {name: torch.zeros(1) for name in buffers}, (3, 5)).keys() == read(official, (3, 5)).keys()


def test_released_simmim_files_say_rpe_mlp():
    official = write(ours("v2", "simmim"), "simmim")
    released = {key.replace("cpb_mlp", "rpe_mlp"): value for key, value in official.items()}
    assert released.keys() != official.keys()
    assert read(released, (3, 5)).keys() == ours("v2", "simmim").keys()


def test_an_unknown_key_is_an_error():
    official = write(ours("v1", "classifier"), "classifier")
    with pytest.raises(UserError, match=r"unknown keys: layers\.0\.gate"):
        read(official | {"layers.0.gate": torch.zeros(1)}, (3, 5))
    with pytest.raises(UserError, match=r"no name in the official classifier layout: gate"):
        write({"gate": torch.zeros(1)}, "classifier")


def test_foreign_weights_are_told_apart():
    with pytest.raises(UserError, match=r"no Swin weights .* blocks\.0\.attn\.qkv\.weight"):
        read({"blocks.0.attn.qkv.weight": torch.zeros(1)})


def test_an_embedding_for_another_grid_is_refused():
    official = write(ours("v1", "classifier"), "classifier")
    with pytest.raises(UserError, match="15 cells does not fit"):
        read(official)
