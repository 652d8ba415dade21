from contextlib import suppress

import pytest
import torch

from muntin.errors import UserError
from muntin.files import read_tensors
from muntin.files.npz import write_npz
from muntin.formats.vit import FILES, read, sizes, write
from muntin.heads import DistilledReadout, TokenReadout
from muntin.models.deit import DeiT, DeiT3, DeiT3Config, DeiTConfig
from muntin.models.vit import ViT, ViTConfig
from muntin.models.vit_hybrid import HybridViT, HybridViTConfig
from muntin.tasks import Classifier, SimMIM

SIZES = {"patch": (4, 4), "grid": (3, 3), "dim": 12, "depth": 2, "heads": 3, "mlp_ratio": 2.0}
MODELS = {
    "ViT": Classifier(ViT(ViTConfig(**SIZES)), 3, TokenReadout),
    "wide ViT": Classifier(ViT(ViTConfig(**{**SIZES, "grid": (2, 5)})), 3, TokenReadout),
    "ViT without token": Classifier(ViT(ViTConfig(**SIZES, class_token=False, readout="gap")), 3),
    "ViT with representation": Classifier(
        ViT(ViTConfig(**SIZES, representation=6)), 3, lambda dim, k: TokenReadout(dim, k, representation=6)
    ),
    "hybrid": Classifier(HybridViT(HybridViTConfig(**SIZES, stem=(2, 1), stem_width=32)), 3, TokenReadout),
    "root alone": Classifier(HybridViT(HybridViTConfig(**SIZES, stem=(), stem_width=32)), 3, TokenReadout),
    "distilled DeiT": Classifier(DeiT(DeiTConfig(**SIZES, distilled=True)), 3, DistilledReadout),
    "DeiT III": Classifier(DeiT3(DeiT3Config(**SIZES)), 3, TokenReadout),
    "SimMIM": SimMIM(ViT(ViTConfig(**SIZES))),
}
ANY = ("ViT", "wide ViT")
HELD = {  # what each layout can hold
    "official": (*ANY, "ViT without token", "ViT with representation", "hybrid", "root alone"),
    "timm": (*ANY, "ViT without token", "hybrid", "root alone", "distilled DeiT", "DeiT III"),
    "deit3": ("DeiT III",),
    "simmim": ("SimMIM",),
    "torchvision": (*ANY, "ViT with representation"),
    "transformers": (*ANY, "distilled DeiT", "SimMIM"),
}


def ours(name: str) -> dict[str, torch.Tensor]:
    return {key: torch.randn_like(tensor) for key, tensor in MODELS[name].state_dict().items()}


def foreign(name: str, layout: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Our tensors, and the same in another layout."""
    state = ours(name)
    return state, write(state, layout, {"heads": 3})


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(("layout", "name"), [(layout, name) for layout in HELD for name in HELD[layout]])
def test_names_and_tensors_come_back(layout, name):
    state, written = foreign(name, layout)
    assert FILES.recognise(written) == layout
    assert equal(read(written, tuple(state["backbone.position.embedding"].shape[:2])).tensors, state)
    assert all(tensor.is_contiguous() for tensor in written.values())
    assert len({tensor.untyped_storage().data_ptr() for tensor in written.values()}) == len(written)
    assert equal(read(state).tensors, state)  # our own files


def test_all_written_layouts_are_tried_above():
    assert HELD.keys() == set(FILES.writable) < set(FILES.layouts)


@pytest.mark.parametrize("name", MODELS)
def test_what_shapes_tell_is_the_config(name):
    model = MODELS[name]
    told = sizes(model.state_dict())
    assert told.num_classes == (0 if name == "SimMIM" else 3)
    assert told.kind == ("simmim" if name == "SimMIM" else "classifier")
    assert told.fields == {key: getattr(model.backbone.config, key) for key in told.fields}
    assert {"patch", "in_chans", "dim", "depth", "mlp_ratio", "grid", "class_token"} < told.fields.keys()
    by_class = {"HybridViT": "vit_hybrid", "DeiT": "deit", "DeiT3": "deit3"}
    assert told.family == by_class.get(type(model.backbone).__name__, "vit")


# --- the arrays of JAX -----------------------------------------------------------------------------------------------


def test_written_names_and_shapes_are_the_published_ones():
    block = "Transformer/encoderblock_1"
    official = foreign("ViT with representation", "official")[1]
    assert {key: tuple(tensor.shape) for key, tensor in official.items() if "encoderblock_0" not in key} == {
        "cls": (1, 1, 12),
        "embedding/kernel": (4, 4, 3, 12),
        "embedding/bias": (12,),
        "Transformer/posembed_input/pos_embedding": (1, 10, 12),
        **{f"{block}/LayerNorm_{n}/{name}": (12,) for n in (0, 2) for name in ("scale", "bias")},
        **{f"{block}/MultiHeadDotProductAttention_1/{n}/kernel": (12, 3, 4) for n in ("query", "key", "value")},
        **{f"{block}/MultiHeadDotProductAttention_1/{n}/bias": (3, 4) for n in ("query", "key", "value")},
        f"{block}/MultiHeadDotProductAttention_1/out/kernel": (3, 4, 12),
        f"{block}/MultiHeadDotProductAttention_1/out/bias": (12,),
        f"{block}/MlpBlock_3/Dense_0/kernel": (12, 24),
        f"{block}/MlpBlock_3/Dense_0/bias": (24,),
        f"{block}/MlpBlock_3/Dense_1/kernel": (24, 12),
        f"{block}/MlpBlock_3/Dense_1/bias": (12,),
        **{f"Transformer/encoder_norm/{name}": (12,) for name in ("scale", "bias")},
        "pre_logits/kernel": (12, 6),
        "pre_logits/bias": (6,),
        "head/kernel": (6, 3),
        "head/bias": (3,),
    }
    hybrid = foreign("hybrid", "official")[1]
    assert hybrid["conv_root/kernel"].shape == (7, 7, 3, 32)
    assert hybrid["block2/unit1/conv_proj/kernel"].shape == (1, 1, 128, 256)
    assert hybrid["block1/unit2/gn3/scale"].shape == (128,)
    deit3 = foreign("DeiT III", "deit3")[1]
    assert {"blocks.1.gamma_1", "blocks.1.gamma_2"} < deit3.keys()
    assert {"blocks.1.ls1.gamma", "blocks.1.ls2.gamma"} < foreign("DeiT III", "timm")[1].keys()
    assert deit3["pos_embed"].shape == (1, 9, 12)


def test_a_file_on_disk_with_a_trainers_prefix_is_read(tmp_path):
    state, written = foreign("hybrid", "official")
    write_npz(tmp_path / "file.npz", {f"opt/target/{key}": tensor for key, tensor in written.items()})
    found = read(read_tensors(tmp_path / "file.npz"))
    assert equal(found.tensors, state)
    assert found.settings == {
        "gelu": "tanh",
        "position_resample": "bilinear_corners",
        "readout": "token",
        "heads": 3,
    }


def test_both_ways_to_number_the_parts_of_a_block_are_read():
    fresh = {"LayerNorm_2": "LayerNorm_1", "MultiHeadDotProductAttention_1": "MultiHeadDotProductAttention_0"}
    fresh["MlpBlock_3"] = "MlpBlock_0"
    state, written = foreign("ViT", "official")
    for old, new in fresh.items():
        written = {key.replace(old, new): tensor for key, tensor in written.items()}
    assert FILES.recognise(written) == "official"
    assert equal(read(written).tensors, state)


def test_group_norms_of_older_hybrids_have_four_axes():
    state, written = foreign("hybrid", "official")
    older = {key: t.view(1, 1, 1, -1) if "/gn" in key or key.startswith("gn_root") else t for key, t in written.items()}
    assert equal(read(older).tensors, state)


def test_the_official_layout_needs_the_heads():
    with pytest.raises(UserError, match="do not tell how many there are; give heads in settings"):
        write(ours("ViT"), "official")
    with pytest.raises(UserError, match="5 heads do not divide the 12 channels"):
        write(ours("ViT"), "official", {"heads": 5})


# --- what files of others hold beside --------------------------------------------------------------------------------


def test_the_decoder_of_mae_is_left_aside():
    state, written = foreign("ViT", "timm")
    decoder = {"mask_token": torch.zeros(1, 1, 8), "decoder_pos_embed": torch.zeros(1, 10, 8)}
    decoder |= {"decoder_embed.weight": torch.zeros(8, 12), "decoder_blocks.0.attn.qkv.weight": torch.zeros(24, 8)}
    found = read(written | decoder)
    assert equal(found.tensors, state)
    assert found.dropped == dict.fromkeys(decoder, "of MAE's decoder")
    _, written = foreign("ViT", "transformers")
    decoder = {"decoder.mask_token": torch.zeros(1, 1, 8), "decoder.decoder_layers.0.output.dense.bias": torch.zeros(8)}
    assert read(written | decoder).dropped.keys() == decoder.keys()


def test_a_norm_after_the_mean_has_a_name_of_its_own_in_timm():
    state = ours("ViT")
    written = write(state, "timm", {"readout": "mean_norm"})
    assert {"fc_norm.weight", "fc_norm.bias"} < written.keys()
    assert not {"norm.weight", "norm.bias"} & written.keys()
    found = read(written)
    assert equal(found.tensors, state)
    assert found.settings == {"gelu": "erf", "position_resample": "bicubic", "readout": "mean_norm"}


def test_layer_scale_has_two_names():
    state, written = foreign("DeiT III", "timm")
    renamed = {key.replace(".ls1.gamma", ".gamma_1").replace(".ls2.gamma", ".gamma_2"): t for key, t in written.items()}
    assert read(renamed).layout == "deit3"
    assert equal(read(renamed).tensors, state)


def test_older_files_of_torchvision_have_other_names_in_the_mlp():
    state, written = foreign("ViT", "torchvision")
    older = {key.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): t for key, t in written.items()}
    assert equal(read(older).tensors, state)


# --- bad input -------------------------------------------------------------------------------------------------------


def test_positions_that_leave_no_grid_are_one_sentence():
    _, written = foreign("distilled DeiT", "timm")
    del written["dist_token"]
    with pytest.raises(
        UserError, match="a class token and 11 positions, and neither 10 nor 11 cells are a square grid"
    ):
        read(written)
    _, written = foreign("wide ViT", "timm")
    with pytest.raises(UserError, match=r"11 positions.*build the model with the grid"):
        read(written)
    with pytest.raises(UserError, match="should be \\(1, L, C\\)"):
        read(written | {"pos_embed": torch.zeros(10, 12)})


@pytest.mark.parametrize(
    ("name", "layout", "settings", "reason"),
    [
        ("distilled DeiT", "torchvision", {}, r"no name in the torchvision layout: backbone\.prefix\.distillation"),
        ("distilled DeiT", "official", {"heads": 3}, "no name in the official layout"),
        ("DeiT III", "transformers", {}, "whose class token has no position"),
        ("ViT without token", "torchvision", {}, "whose class token has no position"),
        ("ViT", "torchvision", {"gelu": "tanh"}, "computes GELU by 'erf', and this model has 'tanh'"),
        ("ViT", "official", {"heads": 3, "gelu": "erf"}, "computes GELU by 'tanh', and this model has 'erf'"),
        ("ViT", "transformers", {"readout": "mean_norm"}, "no norm after the mean"),
        ("ViT", "torchvision", {"readout": "gap"}, "classifies by the class token"),
        ("ViT with representation", "timm", {}, "no layer between the last norm and the classifier"),
        ("ViT with representation", "transformers", {}, "no layer between the last norm and the classifier"),
        ("ViT", "simmim", {}, "this is a classifier"),
        ("ViT", "timmm", {}, "did you mean timm"),
    ],
)
def test_what_a_layout_has_no_place_for_is_one_sentence(name, layout, settings, reason):
    with pytest.raises(UserError, match=reason):
        write(ours(name), layout, settings)


@pytest.mark.parametrize("layout", HELD)
def test_damaged_tensors_are_refused_or_left_to_the_model(layout):
    """No numbers are refused; of other shapes, some keep their names, and then fit no model."""
    state, written = foreign(HELD[layout][0], layout)
    for key in written:
        for damage in (torch.zeros(0), torch.zeros(2, dtype=torch.int64)):
            with pytest.raises(UserError, match=r"is of (shape|type)"):
                read(written | {key: damage})
        for damage in (torch.zeros(()), torch.zeros(2), torch.zeros(2, 2, 2, 2, 2)):
            with suppress(UserError):
                assert read(written | {key: damage}).tensors.keys() <= state.keys() | {"backbone.prefix.position"}


def test_unknown_keys_and_other_families_are_told():
    _, written = foreign("ViT", "timm")
    with pytest.raises(UserError, match=r"looks like the timm layout of ViT.*does not explain: reg_token"):
        read(written | {"reg_token": torch.zeros(1, 4, 12)})
    with pytest.raises(UserError, match="no ViT weights in any known layout"):
        read({"layers.0.blocks.0.attn.qkv.weight": torch.zeros(3, 1)})
    assert (
        FILES.recognise_names({key for key in written if key != "pos_embed"}) is None
    )  # BEiT and others without positions


def test_a_detectors_backbone_is_found():
    state, written = foreign("ViT", "timm")
    inside = {f"backbone.{key}": tensor for key, tensor in written.items() if not key.startswith("head.")}
    found = read(inside | {"neck.conv.weight": torch.zeros(1)})
    assert found.wrapped_in == "a detector (backbone.*, neck.*)"
    assert equal(found.tensors, {key: tensor for key, tensor in state.items() if not key.startswith("readout.head.")})


def test_a_grid_that_is_asked_for_does_not_take_the_position_of_the_token():
    """50 positions are 7 x 7 and a class token's, also for a model of 5 x 10 cells; DeiT III's token has none."""
    positions = torch.zeros(1, 50, 4)
    plain = {"blocks.0.attn.qkv.weight": torch.zeros(12, 4), "cls_token": torch.zeros(1, 1, 4), "pos_embed": positions}
    assert read(plain, (5, 10)).tensors["backbone.position.embedding"].shape == (7, 7, 4)
    scaled = plain | {"blocks.0.ls1.gamma": torch.zeros(4)}
    assert read(scaled, (5, 10)).tensors["backbone.position.embedding"].shape == (5, 10, 4)
    assert "backbone.prefix.position" not in read(scaled, (5, 10)).tensors
