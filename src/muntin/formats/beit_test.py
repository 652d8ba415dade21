from contextlib import suppress

import pytest
import torch

from muntin.errors import UserError
from muntin.formats.beit import FILES, read, sizes, write
from muntin.heads import MeanNormReadout, TokenReadout
from muntin.models.beit import BEiT, BEiTConfig
from muntin.tasks import Classifier, SimMIM

SIZES = {"patch": (4, 4), "grid": (3, 3), "dim": 12, "depth": 2, "heads": 3, "mlp_ratio": 2.0}
MODELS = {
    "fine-tuned": Classifier(BEiT(BEiTConfig(**SIZES)), 3, MeanNormReadout),
    "shared": Classifier(BEiT(BEiTConfig(**SIZES, shared_bias=True, readout="token")), 3, TokenReadout),
    "SimMIM": SimMIM(BEiT(BEiTConfig(**SIZES, shared_bias=True))),
}
HELD = {"official": ("fine-tuned", "shared"), "simmim": ("SimMIM",)}  # what each layout can hold


def ours(name: str) -> dict[str, torch.Tensor]:
    return {key: torch.randn_like(tensor) for key, tensor in MODELS[name].state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(("layout", "name"), [(layout, name) for layout in HELD for name in HELD[layout]])
@pytest.mark.parametrize("readout", ["token", "mean_norm"])
def test_names_and_tensors_come_back(layout, name, readout):
    state = ours(name)
    written = write(state, layout, {"readout": readout})
    assert FILES.recognise(written) == layout
    found = read(written)
    assert equal(found.tensors, state)
    assert found.settings == ({"readout": readout} if layout == "official" else {})
    assert equal(read(state).tensors, state)  # our own files


def test_all_written_layouts_are_tried_above():
    assert HELD.keys() == set(FILES.writable) < set(FILES.layouts)


def test_written_names_and_shapes_are_the_published_ones():
    official = write(ours("fine-tuned"), "official")
    assert {"cls_token", "fc_norm.weight", "head.weight", "blocks.1.gamma_2"} < official.keys()
    assert official["blocks.1.attn.relative_position_bias_table"].shape == (28, 3)
    assert official["blocks.1.attn.q_bias"].shape == (12,)
    assert official["cls_token"].shape == (1, 1, 12)
    simmim = write(ours("SimMIM"), "simmim")
    assert simmim["encoder.mask_token"].shape == (1, 1, 12)
    assert simmim["encoder.rel_pos_bias.relative_position_bias_table"].shape == (28, 3)
    assert simmim["decoder.0.weight"].shape == (48, 12, 1, 1)
    assert "encoder.norm.weight" in simmim


def test_indices_follow_from_sizes():
    written = write(ours("fine-tuned"), "official")
    index = {"blocks.0.attn.relative_position_index": torch.zeros(10, 10, dtype=torch.int64)}
    found = read(written | index)
    assert found.dropped == dict.fromkeys(index, "follows from sizes")
    assert found.tensors.keys() == MODELS["fine-tuned"].state_dict().keys()


@pytest.mark.parametrize("name", MODELS)
def test_what_shapes_tell_is_the_config(name):
    model = MODELS[name]
    told = sizes(model.state_dict())
    assert (told.family, told.num_classes) == ("beit", 0 if name == "SimMIM" else 3)
    assert told.kind == ("simmim" if name == "SimMIM" else "classifier")
    assert told.fields == {key: getattr(model.backbone.config, key) for key in told.fields}
    assert {"patch", "in_chans", "dim", "depth", "heads", "mlp_ratio", "grid", "shared_bias"} == told.fields.keys()


def test_a_grid_that_is_no_square_is_not_told():
    state = BEiT(BEiTConfig(**{**SIZES, "grid": (2, 5)})).state_dict()
    assert "grid" not in sizes({f"backbone.{key}": tensor for key, tensor in state.items()}).fields


def test_what_does_not_belong_is_one_sentence():
    with pytest.raises(UserError, match="this is a classifier"):
        write(ours("fine-tuned"), "simmim")
    with pytest.raises(UserError, match="no name in the official layout: mask_token"):
        write(ours("SimMIM"), "official")
    with pytest.raises(UserError, match="did you mean simmim"):
        write(ours("SimMIM"), "simmin")
    written = write(ours("fine-tuned"), "official")
    with pytest.raises(UserError, match=r"official layout of BEiT.*does not explain: lm_head\.bias"):
        read(written | {"lm_head.bias": torch.zeros(8)})
    with pytest.raises(UserError, match="no BEiT weights in any known layout"):
        read({"blocks.0.attn.qkv.weight": torch.zeros(3, 1)})


@pytest.mark.parametrize("layout", HELD)
def test_damaged_tensors_are_refused_or_left_to_the_model(layout):
    """No numbers are refused; of other shapes, some keep their names, and then fit no model."""
    state = ours(HELD[layout][0])
    written = write(state, layout)
    for key in written:
        for damage in (torch.zeros(0), torch.zeros(2, dtype=torch.int64)):
            with pytest.raises(UserError, match=r"is of (shape|type)"):
                read(written | {key: damage})
        for damage in (torch.zeros(()), torch.zeros(2), torch.zeros(2, 2, 2, 2, 2)):
            with suppress(UserError):
                assert read(written | {key: damage}).tensors.keys() <= state.keys()
