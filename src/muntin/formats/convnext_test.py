import pytest
import torch
from torch import nn

from muntin.errors import UserError
from muntin.formats.convnext import FILES, read, sizes, write
from muntin.heads import LevelNorms, MeanNormReadout
from muntin.models.convnext import ConvNeXt, ConvNeXtConfig

CONFIG = ConvNeXtConfig(dims=(8, 16, 24), depths=(2, 1, 1))
ISOTROPIC = ConvNeXtConfig(patch=(16, 16), dims=(8,), depths=(3,), patch_norm=False, layer_scale=0.0)
WRITTEN = [  # what each layout can hold
    ("official", "classifier"),
    ("dense", "dense"),
    ("timm", "classifier"),
    ("torchvision", "classifier"),
    ("transformers", "classifier"),
    ("transformers", "dense"),
]


def ours(heads: str = "classifier", config: ConvNeXtConfig = CONFIG) -> dict[str, torch.Tensor]:
    """A state dict with our names and random numbers."""
    torch.manual_seed(0)
    parts: dict[str, nn.Module] = {"backbone": ConvNeXt(config)}
    if heads == "classifier":
        parts["readout"] = MeanNormReadout(config.dims[-1], 3)
    elif heads == "dense":
        parts["norms"] = LevelNorms(config.dims)
    else:
        parts |= {"norm": nn.LayerNorm(config.dims[-1]), "decoder": nn.Linear(config.dims[-1], 12)}
    state = nn.ModuleDict(parts).state_dict()
    state |= {"mask_token": torch.randn(8)} if heads == "simmim" else {}
    return {key: torch.randn_like(tensor) for key, tensor in state.items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(("layout", "heads"), WRITTEN)
def test_names_and_tensors_come_back(layout, heads):
    state = ours(heads)
    foreign = write(state, layout)
    assert FILES.recognise(foreign) == layout
    found = read(foreign)
    assert (found.layout, found.wrapped_in, found.dropped) == (layout, "", {})
    assert equal(found.tensors, state)


def test_all_written_layouts_are_tried_above():
    assert {layout for layout, _ in WRITTEN} == set(FILES.writable) == set(FILES.layouts) - {"muntin"}


@pytest.mark.parametrize("heads", ["classifier", "dense", "simmim"])
@pytest.mark.parametrize("config", [CONFIG, ISOTROPIC])
def test_every_name_of_ours_is_known(heads, config):
    state = ours(heads, config)
    found = read(state)
    assert found.layout == "muntin"
    assert equal(found.tensors, state)


def test_written_names_are_the_published_ones():
    official = write(ours(), "official")
    assert official["downsample_layers.0.1.weight"].shape == official["downsample_layers.1.0.weight"].shape == (8,)
    assert official["stages.0.1.pwconv1.weight"].shape == (32, 8)
    assert write(ours(), "torchvision")["features.5.0.layer_scale"].shape == (24, 1, 1)
    assert write(ours(), "timm")["stages.2.downsample.1.weight"].shape == (24, 16, 2, 2)
    transformers = write(ours(), "transformers")
    assert transformers["convnext.encoder.stages.1.downsampling_layer.1.weight"].shape == (16, 8, 2, 2)
    assert transformers["classifier.weight"].shape == (3, 24)


def test_written_tensors_can_be_saved_one_by_one():
    for layout, heads in WRITTEN:
        tensors = write(ours(heads), layout).values()
        assert all(tensor.is_contiguous() for tensor in tensors)
        assert len({tensor.untyped_storage().data_ptr() for tensor in tensors}) == len(tensors)


def test_isotropic_models_have_official_names_of_their_own():
    state = ours(config=ISOTROPIC)
    official = write(state, "official")
    assert {"stem.weight", "blocks.2.pwconv2.bias", "norm.weight", "head.weight"} < official.keys()
    found = read(official)
    assert found.layout == "official"
    assert equal(found.tensors, state)
    with pytest.raises(UserError, match="not known in the timm layout; write the official one"):
        write(state, "timm")


@pytest.mark.parametrize(("layout", "names"), [("official", ("pwconv1", "pwconv2")), ("timm", ("mlp.fc1", "mlp.fc2"))])
def test_an_mlp_of_1x1_convolutions_is_the_linear_one(layout, names):
    foreign = write(ours(), layout)
    ends = tuple(f"{name}.weight" for name in names)
    old = {k: v[:, :, None, None] if k.endswith(ends) else v for k, v in foreign.items()}
    assert equal(read(old).tensors, ours())


def test_timm_features_have_names_of_their_own():
    state = {k: v for k, v in ours().items() if k.startswith("backbone.")}
    features = {k.replace("stages.", "stages_").replace("stem.", "stem_"): v for k, v in write(state, "timm").items()}
    assert read(features).layout == "timm"
    assert equal(read(features).tensors, state)


def test_the_backbone_of_a_detector_is_read_and_the_rest_told():
    state = ours("dense")
    inside = {f"backbone.{key}": tensor for key, tensor in write(state, "dense").items()}
    around = {"neck.conv.weight": torch.zeros(1), "roi_head.bbox_head.fc.weight": torch.zeros(1)}
    found = read(inside | around)
    assert (found.layout, found.wrapped_in) == ("dense", "a detector (backbone.*, neck.*, roi_head.*)")
    assert found.dropped.keys() == around.keys()
    assert equal(found.tensors, state)


def test_the_second_version_is_told_apart():
    foreign = write(ours(), "official")
    with pytest.raises(UserError, match=r"official layout of ConvNeXt.* explain: stages\.0\.0\.grn\.gamma"):
        read(foreign | {"stages.0.0.grn.gamma": torch.zeros(1, 1, 1, 32)})


def test_an_unknown_key_is_an_error_that_names_the_layout():
    for layout, heads in WRITTEN:
        foreign = write(ours(heads), layout)
        for strange in ("gate.weight", next(iter(foreign)) + ".lora_A"):
            with pytest.raises(UserError, match=rf"looks like the {layout} layout .* explain: {strange}"):
                read(foreign | {strange: torch.zeros(1)})


def test_a_tensor_without_a_place_in_a_layout_is_an_error():
    for layout in FILES.writable:
        with pytest.raises(UserError, match=rf"no name in the {layout} layout: gate"):
            write(ours() | {"gate": torch.zeros(1)} if layout != "dense" else {"gate": torch.zeros(1)}, layout)
    with pytest.raises(UserError, match="no name in the timm layout: norms"):
        write(ours("dense"), "timm")
    with pytest.raises(UserError, match="unknown layout to write 'timn'"):
        write(ours(), "timn")


def test_weights_of_something_else_are_told_apart():
    swin = {"layers.0.blocks.0.attn.qkv.weight": torch.zeros(1), "backbone.stages.0.0.mix.qkv.weight": torch.zeros(1)}
    assert FILES.recognise(swin) is None
    assert FILES.recognise({}) is None
    with pytest.raises(UserError, match="no ConvNeXt weights"):
        read(swin)


@pytest.mark.parametrize("config", [CONFIG, ISOTROPIC])
@pytest.mark.parametrize(("heads", "kind"), [("classifier", "classifier"), ("dense", "backbone"), ("simmim", "simmim")])
def test_sizes_are_read_off_the_shapes(config, heads, kind):
    found = sizes(ours(heads, config))
    assert (found.family, found.kind, found.num_classes) == ("convnext", kind, 3 if kind == "classifier" else 0)
    assert ConvNeXtConfig(**found.fields) == config
