import re

import pytest
import torch
from torch import nn

from muntin.errors import UserError
from muntin.formats.cvt import FILES, read, sizes, write
from muntin.heads import LevelNorms, TokenReadout
from muntin.models.cvt import CvT, CvTConfig

SHAPE = {
    "dims": (8, 16, 24),
    "depths": (1, 2, 1),
    "heads": (1, 2, 3),
    "embed_kernel": (7, 3, 5),
    "mlp_ratio": (2.0, 4.0, 3.0),
    "projection": ("dw_bn", "avg", "dw_bn"),
    "kernel": (5, 3, 3),
    "qkv_bias": (True, False, True),
    "class_token": (True, False, True),
}


def ours(kind: str = "classifier") -> dict[str, torch.Tensor]:
    """A state dict with the names that a model has here, and random numbers."""
    parts: dict[str, nn.Module] = {"backbone": CvT(CvTConfig(**SHAPE))}
    if kind == "classifier":
        parts["readout"] = TokenReadout(24, 5)
    elif kind == "dense":
        parts["norms"] = LevelNorms((8, 16, 24))
    else:
        parts |= {"norm": nn.LayerNorm(24), "decoder": nn.Linear(24, 12)}
    state = nn.ModuleDict(parts).state_dict() | ({"mask_token": torch.zeros(8)} if kind == "simmim" else {})
    return {k: torch.randn_like(t) if t.is_floating_point() else torch.tensor(7) for k, t in state.items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        one[key].dtype == other[key].dtype and torch.equal(one[key], other[key]) for key in one
    )


@pytest.mark.parametrize("layout", FILES.writable)
def test_names_and_tensors_come_back_counters_included(layout):
    state = ours()
    foreign = write(state, layout)
    assert FILES.recognise(foreign) == layout
    found = read(foreign)
    assert (found.layout, found.dropped, found.wrapped_in) == (layout, {}, "")
    assert equal(found.tensors, state)
    assert found.tensors["backbone.stages.0.0.mix.k.bn.num_batches_tracked"].item() == 7


@pytest.mark.parametrize("kind", ["classifier", "dense", "simmim"])
def test_our_own_files_are_read_as_they_are(kind):
    state = ours(kind)
    assert FILES.recognise(state) == "muntin"
    assert equal(read(state).tensors, state)


def test_written_names_are_the_published_ones():
    official = write(ours(), "official")
    assert official["stage0.cls_token"].shape == (1, 1, 8)
    assert official["stage0.patch_embed.proj.weight"].shape == (8, 3, 7, 7)
    assert official["stage2.blocks.0.attn.conv_proj_v.bn.running_var"].shape == (24,)
    assert official["stage1.blocks.1.attn.proj_q.weight"].shape == (16, 16)
    assert official["head.weight"].shape == (5, 24)
    transformers = write(ours(), "transformers")
    layer = "cvt.encoder.stages.2.layers.0."
    projection = f"{layer}attention.attention.convolution_projection_query.convolution_projection."
    assert transformers[f"{projection}convolution.weight"].shape == (24, 1, 3, 3)
    assert transformers[f"{projection}normalization.num_batches_tracked"].dtype == torch.int64
    assert transformers[f"{layer}output.dense.weight"].shape == (24, 72)
    assert transformers["classifier.bias"].shape == (5,)


def test_a_bare_model_of_transformers_gives_the_backbone():
    state = {k: t for k, t in ours().items() if k.startswith("backbone.")}
    bare = {key.removeprefix("cvt."): tensor for key, tensor in write(state, "transformers").items()}
    assert FILES.recognise(bare) == "transformers"
    assert equal(read(bare).tensors, state)


def test_the_prefix_of_distributed_training_is_stripped():
    state = ours()
    assert equal(read({f"module.{key}": t for key, t in write(state, "official").items()}).tensors, state)


@pytest.mark.parametrize("kind", ["classifier", "simmim", "dense"])
def test_shapes_tell_all_but_heads_and_strides(kind):
    told = sizes(ours(kind))
    assert told.family == "cvt"
    assert told.kind == {"dense": "backbone"}.get(kind, kind)
    assert told.num_classes == (5 if kind == "classifier" else 0)
    assert told.fields == {"in_chans": 3, **{k: v for k, v in SHAPE.items() if k != "heads"}}


def test_a_file_without_its_last_embedding_tells_no_sizes():
    with pytest.raises(KeyError, match=r"embeds\.2"):
        sizes({k: t for k, t in ours().items() if not k.startswith("backbone.embeds.2.")})


@pytest.mark.parametrize("layout", FILES.layouts)
def test_a_key_that_no_layout_explains_is_named(layout):
    state = ours() if layout == "muntin" else write(ours(), layout)
    with pytest.raises(UserError, match=re.escape("pos_embed")):
        read(state | {"pos_embed": torch.zeros(1)})


def test_a_damaged_class_token_is_one_sentence():
    with pytest.raises(UserError, match="is it damaged"):
        read(write(ours(), "official") | {"stage2.cls_token": torch.zeros(())})


def test_a_counter_that_is_no_count_is_refused():
    key = "stage0.blocks.0.attn.conv_proj_q.bn.running_mean"
    with pytest.raises(UserError, match="int64"):
        read(write(ours(), "official") | {key: torch.zeros(8, dtype=torch.int64)})


def test_a_fused_model_has_no_foreign_names():
    backbone = CvT(CvTConfig(**SHAPE)).eval()
    backbone.fuse()
    with pytest.raises(UserError, match=r"conv\.bias"):
        write({f"backbone.{key}": tensor for key, tensor in backbone.state_dict().items()}, "official")
