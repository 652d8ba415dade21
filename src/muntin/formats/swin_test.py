import math
import random
import re

import pytest
import torch
from torch import nn

from muntin.errors import UserError
from muntin.formats.swin import FILES, read, write
from muntin.heads import LevelNorms, PooledReadout
from muntin.models import Swin, SwinConfig, SwinV2, SwinV2Config

SHAPE = {"dim": 8, "depths": (2, 1), "heads": (1, 2), "window": (4, 4)}
EMBEDDED = {**SHAPE, "absolute_position": (3, 5)}
BACKBONES = {"v1": Swin(SwinConfig(**SHAPE)), "v2": SwinV2(SwinV2Config(**SHAPE))}
WITH_EMBEDDING = {"v1": Swin(SwinConfig(**EMBEDDED)), "v2": SwinV2(SwinV2Config(**EMBEDDED))}

WRITTEN = [  # what each layout can hold
    ("official", "classifier"),
    ("dense", "dense"),
    ("simmim", "simmim"),
    ("timm", "classifier"),
    ("transformers", "classifier"),
    ("transformers", "simmim"),
    ("transformers", "dense"),
    ("torchvision", "classifier"),
    ("openmmlab", "dense"),
    ("openmmlab", "classifier"),
]
HEADS = {"official": "classifier", "dense": "dense", "simmim": "simmim"}


def ours(version: str, heads: str, backbones: dict[str, Swin] = BACKBONES) -> dict[str, torch.Tensor]:
    """A state dict with the names that a classifier, a dense model or SimMIM has here, and random numbers."""
    parts = {"backbone": backbones[version]}
    if heads == "classifier":
        parts["readout"] = PooledReadout(16, 3)
    elif heads == "dense":
        parts["norms"] = LevelNorms((8, 16))
    else:
        parts |= {"norm": nn.LayerNorm(16), "decoder": nn.Linear(16, 12)}
    state = nn.ModuleDict(parts).state_dict()
    state |= {"mask_token": torch.randn(8)} if heads == "simmim" else {}
    return {key: torch.randn_like(tensor) for key, tensor in state.items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("version", BACKBONES)
@pytest.mark.parametrize(("layout", "heads"), WRITTEN)
def test_names_and_tensors_come_back(version, layout, heads):
    if (version, layout, heads) == ("v2", "transformers", "dense"):
        pytest.skip("transformers' V2 backbone has no norms of its levels")
    state = ours(version, heads)
    foreign = write(state, layout)
    assert FILES.recognise(foreign) == layout
    found = read(foreign)
    assert found.layout == layout
    assert found.wrapped_in == ("a classifier (backbone.*, head.*)" if (layout, heads) == WRITTEN[-1] else "")
    assert equal(found.tensors, state)


@pytest.mark.parametrize("version", BACKBONES)
@pytest.mark.parametrize(("layout", "heads"), [pair for pair in WRITTEN if pair[0] not in ("timm", "torchvision")])
def test_absolute_embeddings_come_back(version, layout, heads):
    if (version, layout, heads) == ("v2", "transformers", "dense"):
        pytest.skip("transformers' V2 backbone has no norms of its levels")
    state = ours(version, heads, WITH_EMBEDDING)
    assert equal(read(write(state, layout), grid=(3, 5)).tensors, state)


def test_all_written_layouts_are_tried_above():
    assert {layout for layout, _ in WRITTEN} == set(FILES.writable) < set(FILES.layouts)


def test_written_names_are_the_published_ones():
    official = write(ours("v2", "classifier", WITH_EMBEDDING), "official")
    assert official["layers.0.blocks.1.attn.cpb_mlp.0.weight"].shape == (512, 2)
    assert official["layers.0.blocks.1.attn.logit_scale"].shape == (1, 1, 1)
    assert official["layers.0.downsample.reduction.weight"].shape == (16, 32)
    assert official["absolute_pos_embed"].shape == (1, 15, 8)
    simmim = write(ours("v1", "simmim"), "simmim")
    assert simmim["encoder.mask_token"].shape == (1, 1, 8)
    assert simmim["decoder.0.weight"].shape == (12, 16, 1, 1)
    assert simmim["encoder.layers.0.blocks.0.attn.relative_position_bias_table"].shape == (49, 1)
    assert write(ours("v1", "dense", WITH_EMBEDDING), "dense")["absolute_pos_embed"].shape == (1, 8, 3, 5)
    assert write(ours("v1", "classifier"), "timm")["layers.1.downsample.norm.weight"].shape == (32,)
    transformers = write(ours("v2", "classifier"), "transformers")
    query = "swinv2.encoder.layers.1.blocks.0.attention.self.query"
    assert transformers[f"{query}.weight"].shape == (16, 16)
    assert f"{query}.bias" in transformers
    assert f"{query.replace('query', 'key')}.bias" not in transformers
    assert transformers["classifier.weight"].shape == (3, 16)


def test_written_tensors_can_be_saved_one_by_one():
    for layout, heads in WRITTEN:
        tensors = write(
            ours("v1", heads, BACKBONES if layout in ("timm", "torchvision") else WITH_EMBEDDING), layout
        ).values()
        assert all(tensor.is_contiguous() for tensor in tensors)
        assert len({tensor.untyped_storage().data_ptr() for tensor in tensors}) == len(tensors)


def test_released_simmim_files_say_rpe_mlp():
    official = write(ours("v2", "simmim"), "simmim")
    released = {key.replace("cpb_mlp", "rpe_mlp"): value for key, value in official.items()}
    assert released.keys() != official.keys()
    assert equal(read(released).tensors, read(official).tensors)


def test_timm_files_from_before_0_9_have_official_names():
    old = {k: v for k, v in write(ours("v1", "classifier"), "official").items() if not k.startswith("head.")}
    assert FILES.recognise(old) == "official"
    new = {k: v for k, v in write(ours("v1", "classifier"), "timm").items() if not k.startswith("head.")}
    assert FILES.recognise(new) == "timm"
    assert read(old).tensors.keys() == read(new).tensors.keys()


def test_timm_features_have_names_of_their_own():
    state = {k: v for k, v in ours("v2", "classifier").items() if k.startswith("backbone.")}
    features = {k.replace("layers.", "layers_"): v for k, v in write(state, "timm").items()}
    found = read(features)
    assert found.layout == "timm"
    assert equal(found.tensors, state)


# --- inside other models ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", BACKBONES)
@pytest.mark.parametrize(("layout", "heads"), [("dense", "dense"), ("openmmlab", "dense"), ("timm", "classifier")])
def test_the_backbone_of_a_detector_is_read_and_the_rest_told(version, layout, heads):
    state = {k: v for k, v in ours(version, heads).items() if not k.startswith("readout.head.")}
    inside = {f"module.backbone.{key}": tensor for key, tensor in write(state, layout).items()}
    around = {"module.neck.conv.weight": torch.zeros(1), "module.roi_head.bbox_head.fc.weight": torch.zeros(1)}
    found = read(inside | around)
    assert (found.layout, found.wrapped_in) == (layout, "a detector (backbone.*, neck.*, roi_head.*)")
    assert found.dropped.keys() == around.keys()
    assert equal(found.tensors, state)


def test_a_segmenter_of_transformers_is_read_as_any_other():
    state = ours("v1", "dense")
    inside = {f"backbone.{key}": tensor for key, tensor in write(state, "transformers").items()}
    found = read(inside | {"decode_head.classifier.weight": torch.zeros(1)})
    assert (found.layout, found.wrapped_in) == ("transformers", "a segmenter (backbone.*, decode_head.*)")
    assert equal(found.tensors, state)


def test_of_moby_the_online_encoder_is_read():
    state = {k: v for k, v in ours("v1", "classifier").items() if not k.startswith("readout.head.")}
    online = {f"encoder.{key}": tensor for key, tensor in write(state, "official").items()}
    momentum = {key.replace("encoder.", "encoder_k."): tensor + 1 for key, tensor in online.items()}
    found = read(online | momentum | {"projector.linear1.weight": torch.zeros(1), "queue1": torch.zeros(1)})
    assert found.layout == "official"
    assert found.wrapped_in.startswith("MoBY pre-training")
    assert len(found.dropped) == len(momentum) + 2
    assert equal(found.tensors, state)


def test_an_unknown_part_of_a_detector_is_an_error():
    inside = {f"backbone.{key}": tensor for key, tensor in write(ours("v1", "dense"), "dense").items()}
    with pytest.raises(UserError, match=r"dense layout .* explain: surprise\.weight"):
        read(inside | {"surprise.weight": torch.zeros(1)})


def test_one_backbone_under_two_prefixes_is_refused():
    dense = write(ours("v1", "dense"), "dense")
    for state in (dense, ours("v1", "dense")):
        with pytest.raises(UserError, match=r"one tensor twice, as .* and as module\."):
            read(state | {f"module.{key}": tensor for key, tensor in state.items()})


# --- buffers ---------------------------------------------------------------------------------------------------------


def coordinates(window: int, pretrained: int) -> torch.Tensor:
    """The official relative_coords_table (Swin V2, eq. 4), written down slowly."""
    line = [8 * offset / (pretrained - 1) if pretrained > 1 else math.nan for offset in range(1 - window, window)]
    line = [math.copysign(math.log2(1 + abs(x)) / 3, x) for x in line]
    return torch.tensor([[[[y, x] for x in line] for y in line]])


def with_buffers(windows=(4, 4), pretrained=(4, 4)) -> dict[str, torch.Tensor]:
    official = write(ours("v2", "classifier"), "official")
    for stage, (window, scale) in enumerate(zip(windows, pretrained)):
        for block in range((2, 1)[stage]):
            attention = f"layers.{stage}.blocks.{block}.attn"
            official[f"{attention}.relative_coords_table"] = coordinates(window, scale)
            official[f"{attention}.relative_position_index"] = torch.zeros(window**2, window**2, dtype=torch.long)
    return official | {"layers.0.blocks.1.attn_mask": torch.zeros(4, 16, 16)}


def test_buffers_that_follow_from_sizes_are_left_aside_and_told():
    found = read(with_buffers())
    assert equal(found.tensors, {k: v for k, v in found.tensors.items() if "relative" not in k and "mask" not in k})
    assert len(found.dropped) == 7
    assert found.dropped["layers.0.blocks.1.attn_mask"] == "follows from sizes"


def test_the_scale_of_a_v2_position_bias_is_recovered_from_its_coordinates():
    found = read(with_buffers(windows=(24, 12), pretrained=(12, 6)))
    assert found.settings.get("window") == ((24, 24), (12, 12))
    assert found.settings.get("pretrained_window") == ((12, 12), (6, 6))
    half = {k: v.half() if v.is_floating_point() else v for k, v in with_buffers((24, 12), (12, 6)).items()}
    assert read(half).settings.get("pretrained_window") == ((12, 12), (6, 6))


def test_a_window_of_one_token_has_no_scale():
    assert read(with_buffers(windows=(2, 1), pretrained=(2, 1))).settings.get("pretrained_window") == ((2, 2), (1, 1))


def test_damaged_coordinates_are_refused():
    for broken in (torch.full((1, 7, 7, 2), math.nan), torch.full((1, 7, 7, 2), 3.0), torch.zeros(7, 7, 2)):
        with pytest.raises(UserError, match=r"coordinates of backbone\.stages\.0\.0 .* damaged"):
            read(with_buffers() | {"layers.0.blocks.0.attn.relative_coords_table": broken})


def test_windows_are_told_by_tables_or_else_by_indices():
    assert read(write(ours("v1", "classifier"), "official")).settings.get("window") == ((4, 4), (4, 4))
    assert read(write(ours("v2", "classifier"), "official")).settings.get("window") is None
    indices = {k: v for k, v in with_buffers((6, 3)).items() if not k.endswith("relative_coords_table")}
    found = read(indices)
    assert found.settings.get("window") == ((6, 6), (3, 3))
    assert found.settings.get("pretrained_window") is None
    assert read(ours("v1", "classifier")).settings.get("window") == ((4, 4), (4, 4))


# --- what is not understood ------------------------------------------------------------------------------------------


def test_an_unknown_key_is_an_error_that_names_the_layout():
    for layout, heads in WRITTEN:
        foreign = write(ours("v1", heads), layout)
        for strange in ("layers.0.gate", "gate.weight", next(iter(foreign)) + ".lora_A"):
            with pytest.raises(UserError, match=rf"looks like the {layout} layout .* explain: {strange}"):
                read(foreign | {strange: torch.zeros(1)})


@pytest.mark.parametrize("stage", ["x", "99999999999999"])
@pytest.mark.parametrize("name", ["backbone.stages.{}.0.mix.proj.weight", "norms.norms.{}.weight"])
def test_unknown_keys_of_our_own_layout_are_errors_too(name, stage):
    key = name.format(stage)
    with pytest.raises(UserError, match=rf"muntin layout of Swin, but has keys it does not explain: {re.escape(key)}$"):
        read(ours("v1", "dense") | {key: torch.zeros(2)})


def test_every_name_of_ours_is_known():
    extra = SwinV2(SwinV2Config(**EMBEDDED, extra_norm_period=1))
    for heads in ("classifier", "dense", "simmim"):
        state = ours("v2", heads, {"v2": extra})
        assert equal(read(state).tensors, state)


def test_a_tensor_without_a_place_in_a_layout_is_an_error():
    for layout in FILES.writable:
        with pytest.raises(UserError, match=rf"no name in the {layout} layout: gate"):
            write({"gate": torch.zeros(1)}, layout)
    with pytest.raises(UserError, match=r"no name in the timm layout: backbone\.absolute_position"):
        write(ours("v1", "classifier", WITH_EMBEDDING), "timm")
    with pytest.raises(UserError, match="no norms of its levels"):
        write(ours("v2", "dense"), "transformers")
    with pytest.raises(UserError, match="unknown layout to write 'timn': did you mean timm"):
        write(ours("v1", "classifier"), "timn")


def test_a_frozen_position_bias_is_not_written_as_what_others_would_read_wrongly():
    state = {
        k.replace("fc1.weight", "table"): v
        for k, v in ours("v2", "classifier").items()
        if not k.endswith(("fc1.bias", "fc2.weight")) or "position" not in k
    }
    assert any(key.endswith("position.table") for key in state)
    with pytest.raises(UserError, match=r"position bias .* is frozen"):
        write(state, "official")


def test_weights_of_something_else_are_told_apart():
    with pytest.raises(UserError, match=r"no Swin weights .* blocks\.0\.attn\.qkv\.weight"):
        read({"blocks.0.attn.qkv.weight": torch.zeros(1)})
    assert FILES.recognise({}) is None


def test_a_mixture_of_official_and_timm_names_is_refused():
    official, timm = (write(ours("v1", "classifier"), layout) for layout in ("official", "timm"))
    merging = {k: v for k, v in timm.items() if "downsample" in k}
    with pytest.raises(UserError, match=r"timm layout .* layers\.0\.downsample"):
        read(official | merging)
    with pytest.raises(UserError, match=r"timm layout .* layers\.0\.downsample"):
        read(official | {k: v for k, v in timm.items() if k.startswith("head.fc")})


def test_one_tensor_under_two_names_is_refused():
    simmim = write(ours("v2", "simmim"), "simmim")
    again = {k.replace("cpb_mlp", "rpe_mlp"): v for k, v in simmim.items() if "cpb_mlp" in k}
    with pytest.raises(UserError, match="holds one tensor twice"):
        read(simmim | again)


def test_parts_of_an_attention_are_refused():
    foreign = write(ours("v1", "classifier"), "transformers")
    del foreign["swin.encoder.layers.0.blocks.1.attention.self.key.weight"]
    with pytest.raises(UserError, match=r"not all: backbone\.stages\.0\.1\.mix\.qkv\.key\.weight is missing"):
        read(foreign)


def test_tensors_of_impossible_shapes_are_refused():
    zoo = write(ours("v1", "dense"), "openmmlab")
    with pytest.raises(UserError, match=r"openmmlab layout .* damaged"):
        read(zoo | {"stages.0.downsample.reduction.weight": torch.zeros(16, 31)})
    foreign = write(ours("v1", "classifier"), "transformers")
    with pytest.raises(UserError, match=r"transformers layout .* damaged"):
        read(foreign | {"swin.encoder.layers.0.blocks.1.attention.self.key.weight": torch.zeros(())})


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn], ids=str)
@pytest.mark.parametrize("layout", ["muntin", "official"])
def test_weights_that_would_lose_their_values_in_loading_are_refused(layout, dtype):
    state = ours("v1", "classifier")
    state = state if layout == "muntin" else write(state, layout)
    key = next(k for k in state if k.endswith("qkv.weight"))
    with pytest.raises(UserError, match=rf"qkv\.weight is of type {str(dtype)[6:]} in the file; weights are float16"):
        read(state | {key: state[key].to(dtype)})
    assert read(state | {key: state[key].half()}).layout == layout


def test_a_tensor_that_holds_nothing_is_refused():
    official = write(ours("v1", "classifier"), "official")
    with pytest.raises(UserError, match=r"proj\.weight is of shape \(8, 0, 4, 4\) in the file and holds nothing"):
        read(official | {"patch_embed.proj.weight": torch.zeros(8, 0, 4, 4)})


@pytest.mark.parametrize("shape", [(2, 16, 8), (16, 8), (2, 8, 4, 4), (8,)])
def test_an_embedding_of_other_axes_is_refused(shape):
    official = write(ours("v1", "classifier"), "official")
    with pytest.raises(UserError, match=r"absolute embedding is of shape .*; it should be \(1, L, C\)"):
        read(official | {"absolute_pos_embed": torch.zeros(shape)})


def test_an_embedding_for_another_grid_is_refused():
    official = write(ours("v1", "classifier", WITH_EMBEDDING), "official")
    for grid in (None, (4, 4)):
        with pytest.raises(UserError, match="15 cells is of no square grid"):
            read(official, grid)
    square = read(official | {"absolute_pos_embed": torch.zeros(1, 16, 8)}, (3, 5))
    assert square.tensors["backbone.absolute_position.embedding"].shape == (4, 4, 8)


def test_mutated_files_raise_nothing_but_user_errors():
    draw = random.Random(0)
    files = [write(ours("v1", heads), layout) for layout, heads in WRITTEN] + [with_buffers()]
    refused = 0
    for _ in range(300):
        state = dict(draw.choice(files))
        for key in draw.sample(list(state), 2):
            tensor = state.pop(key)
            shape = [draw.randint(0, 4) for _ in range(draw.randint(0, 5))]
            other_name = key.replace(draw.choice("0123."), draw.choice(("9999999", "-1", "", "٣")))
            state |= draw.choice(({}, {key: torch.zeros(shape)}, {other_name: tensor}, {key[:-3]: tensor}))
        try:
            read(state)
        except UserError:
            refused += 1
    assert refused > 100
