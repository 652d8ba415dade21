import copy
import dataclasses
import math

import pytest
import torch
from torch import nn

from muntin.errors import UserError
from muntin.models import SwinV2, SwinV2Config
from muntin.models.swin_v2 import LogSpacedBias, PostNormMerging, QueryValueBias, ResPostNormBlock, log_spaced_offsets

TINY = SwinV2Config(dim=8, depths=(2, 2, 1), heads=(1, 2, 4), window=(4, 4))
CPU = torch.device("cpu")


def perturbed(model: SwinV2, seed: int = 0) -> SwinV2:
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def test_offsets_are_spaced_as_the_official_code_spaces_them():
    window, trained = (3, 2), (5, 4)
    offsets = log_spaced_offsets(window, trained, torch.float64, CPU)
    rows = [(y, x) for y in (-2, -1, 0, 1, 2) for x in (-1, 0, 1)]
    assert offsets.shape == (15, 2)
    for row, (y, x) in zip(offsets.tolist(), rows):
        for found, offset, w in zip(row, (y, x), trained):
            scaled = 8 * offset / (w - 1)
            assert found == pytest.approx(math.copysign(math.log2(1 + abs(scaled)) / 3, scaled) if scaled else 0.0)


def test_a_window_of_one_token_gives_a_number():
    bias = LogSpacedBias(None, axes=2, heads=2)
    assert bias((1, 1))[0].isfinite().all()
    assert bias((1, 3))[0].isfinite().all()


def test_the_bias_lies_between_0_and_16_and_is_never_rounded():
    bias = LogSpacedBias(None, axes=2, heads=2)
    nn.init.normal_(bias.fc2.weight)
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = bias((4, 5))[0]
    assert torch.equal(under_autocast, bias((4, 5))[0])
    assert under_autocast.dtype == torch.float32
    assert 0 <= under_autocast.min() < under_autocast.max() <= 16


def test_the_bias_is_16_times_the_sigmoid_of_a_small_network():
    torch.manual_seed(0)
    bias = LogSpacedBias((5, 4), axes=2, heads=2).double()
    hidden = log_spaced_offsets((3, 2), (5, 4), torch.float64, CPU) @ bias.fc1.weight.T + bias.fc1.bias
    torch.testing.assert_close(bias((3, 2))[0], 16 / (1 + (-hidden.clamp_min(0) @ bias.fc2.weight.T).exp()))


def test_keys_have_no_bias():
    qkv = QueryValueBias(4)
    nn.init.normal_(qkv.weight)
    nn.init.ones_(qkv.q_bias)
    nn.init.ones_(qkv.v_bias)
    q, k, v = qkv(torch.zeros(2, 4)).split(4, -1)
    assert q.eq(1).all()
    assert k.eq(0).all()
    assert v.eq(1).all()


def test_the_norm_is_of_the_branch_and_not_of_the_sum():
    torch.manual_seed(0)
    block = ResPostNormBlock(4, nn.Linear(4, 4), nn.Linear(4, 4), nn.Identity(), nn.Identity())
    x = torch.randn(2, 3, 4)
    half = x + block.norm1(block.mix(x))
    torch.testing.assert_close(block(x), half + block.norm2(block.mlp(half)))


def test_merging_normalises_after_its_linear_map():
    merged = PostNormMerging(3, cells=(2, 2))(torch.randn(2, 4, 6, 3))
    torch.testing.assert_close(merged.mean(-1), torch.zeros(2, 2, 3), atol=1e-6, rtol=0)


def test_every_block_starts_as_the_identity():
    model, x = SwinV2(TINY).eval(), torch.randn(1, 3, 32, 48)
    torch.testing.assert_close(model(x).levels[0].movedim(1, -1), model.embed(x))
    assert all(a.logit_scale.eq(math.log(10)).all() for stage in model.attentions() for a in stage)


def main_norms(model: SwinV2) -> list[int]:
    """Places, counted from 1 over the network, of the blocks with an extra norm."""
    blocks = [block for stage in model.stages for block in stage]
    return [i for i, block in enumerate(blocks, start=1) if isinstance(block.main_norm, nn.LayerNorm)]


def test_extra_norms_are_counted_in_each_stage_or_over_the_network():
    deep = dataclasses.replace(TINY, depths=(2, 3, 7), extra_norm_period=3)
    assert main_norms(SwinV2(TINY)) == []
    assert main_norms(SwinV2(deep)) == [5, 8, 11]
    assert main_norms(SwinV2(dataclasses.replace(deep, extra_norm_scope="network"))) == [3, 6, 9, 12]


def test_an_extra_norm_normalises_the_main_path():
    model = SwinV2(dataclasses.replace(TINY, extra_norm_period=2))
    levels = perturbed(model)(torch.randn(1, 3, 32, 48)).levels
    norm = model.stages[0][1].main_norm
    standard = (levels[0].movedim(1, -1) - norm.bias) / norm.weight
    torch.testing.assert_close(standard.mean(-1), torch.zeros(1, 8, 12), atol=1e-4, rtol=0)


def test_another_window_keeps_the_scale_it_was_trained_on():
    """As a model that was built with `pretrained_window`; the official way of transferring weights."""
    model = perturbed(SwinV2(TINY))
    trained = ((4, 4), (4, 4), (2, 2))  # at 32 pixels the maps are 8, 4 and 2 cells wide
    built = SwinV2(dataclasses.replace(TINY, window=(6, 6), pretrained_window=trained)).eval()
    built.load_state_dict(model.state_dict())
    model.set_window((6, 6), trained_image=(32, 32))
    x = torch.randn(1, 3, 48, 64)
    torch.testing.assert_close(model(x).levels[-1], built(x).levels[-1])


def test_forgetting_the_trained_size_changes_the_numbers():
    model = perturbed(SwinV2(TINY))
    naive, x = SwinV2(dataclasses.replace(TINY, window=(6, 6))).eval(), torch.randn(1, 3, 48, 64)
    naive.load_state_dict(model.state_dict())
    model.set_window((6, 6))
    assert not torch.allclose(model(x).levels[-1], naive(x).levels[-1], atol=1e-3)


def test_a_second_change_of_window_keeps_the_first_scale():
    model, x = perturbed(SwinV2(TINY)), torch.randn(1, 3, 48, 64)
    direct = copy.deepcopy(model)
    direct.set_window((8, 8))
    model.set_window((6, 6))
    model.set_window((8, 8))
    torch.testing.assert_close(model(x).levels[-1], direct(x).levels[-1])


def test_effective_windows_follow_the_small_map_rule():
    assert SwinV2(TINY).effective_windows((32, 48)) == [(4, 4), (4, 4), (2, 2)]
    dense = SwinV2(dataclasses.replace(TINY, small_map="keep"))
    assert dense.effective_windows((32, 48)) == [(4, 4)] * 3
    dense.set_window((6, 6))
    assert dense.effective_windows((32, 48)) == [(6, 6)] * 3


@pytest.mark.parametrize("small_map", ["shrink", "keep"])
@pytest.mark.parametrize("scale", [None, ((6, 6), (6, 6), (3, 3))])
def test_a_frozen_bias_gives_the_same_outputs_without_the_network(small_map, scale):
    model = perturbed(SwinV2(dataclasses.replace(TINY, small_map=small_map, pretrained_window=scale)))
    x = torch.randn(1, 3, 32, 36)  # the last map is smaller than the window
    before = model(x).levels
    model.freeze_position_bias(trained_image=(32, 36))
    assert all(torch.equal(a, b) for a, b in zip(model(x).levels, before))
    assert not any("position.fc" in name for name, _ in model.named_parameters())
    assert not any(p.requires_grad for name, p in model.named_parameters() if name.endswith("table"))


def test_a_frozen_bias_serves_smaller_windows_too():
    model = perturbed(SwinV2(TINY))
    model.set_scale(((4, 4),) * 3)
    small = torch.randn(1, 3, 24, 40)  # maps of 6 x 10, 3 x 5, 2 x 3
    before = model(small).levels
    model.freeze_position_bias()
    torch.testing.assert_close(model(small).levels, before)


def test_a_frozen_bias_can_be_built_and_loaded_again():
    model = perturbed(SwinV2(TINY))
    model.freeze_position_bias()
    again = SwinV2(model.config)
    again.load_state_dict(model.state_dict())
    x = torch.randn(1, 3, 32, 32)
    assert all(torch.equal(a, b) for a, b in zip(again.eval()(x).levels, model(x).levels))
    assert again.config.pretrained_window == ((4, 4),) * 3


def test_a_frozen_bias_refuses_another_window():
    model = SwinV2(TINY)
    model.freeze_position_bias()
    for change in (
        lambda: model.set_window((6, 6)),
        lambda: model.set_scale(((6, 6),) * 3),
        model.freeze_position_bias,
    ):
        with pytest.raises(UserError, match="frozen into a table for its window"):
            change()
    assert model.attentions()[0][0].window == (4, 4)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pretrained_window": ((4, 4),)}, "one entry a stage, 3 as in depths"),
        ({"pretrained_window": ((4,),) * 3}, "each 2 whole numbers"),
        ({"frozen_bias": 1}, "must be True or False"),
        ({"extra_norm_period": -1}, "from 0"),
        ({"extra_norm_scope": "all"}, "unknown extra_norm_scope 'all'"),
    ],
)
def test_configs_that_no_model_can_have_are_refused(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        SwinV2(dataclasses.replace(TINY, **changes))
