import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from muntin.errors import UserError
from muntin.layers.blocks import LayerScale
from muntin.models.convnext import VARIANTS, ConvNeXt, ConvNeXtConfig

TINY = ConvNeXtConfig(dims=(8, 16), depths=(2, 1))


def test_sizes_round_down_and_levels_are_taken_before_downsampling():
    torch.manual_seed(0)
    model, x = ConvNeXt(TINY).eval(), torch.randn(2, 3, 39, 50)
    levels = model(x).levels
    assert [tuple(level.shape) for level in levels] == [(2, 8, 9, 12), (2, 16, 4, 6)]
    y = model.stages[1][0](model.downsamples[0](levels[0].movedim(1, -1)))
    torch.testing.assert_close(levels[1].movedim(1, -1), y)
    torch.testing.assert_close(model(x[..., :36, :48]).levels[1], levels[1])


def test_a_block_is_the_papers_figure():
    torch.manual_seed(0)
    block = ConvNeXt(dataclasses.replace(TINY, layer_scale=0.7)).stages[0][0]
    x = torch.randn(2, 9, 5, 8)
    y = F.conv2d(x.movedim(-1, 1), block.dwconv.weight, block.dwconv.bias, padding=3, groups=8)
    y = (y - y.mean(1, keepdim=True)) / (y.var(1, keepdim=True, unbiased=False) + 1e-6).sqrt()
    y = F.gelu(F.linear(y.movedim(1, -1), block.mlp.fc1.weight, block.mlp.fc1.bias))
    y = F.linear(y, block.mlp.fc2.weight, block.mlp.fc2.bias)
    torch.testing.assert_close(block(x), x + 0.7 * y)


def test_the_convolution_sees_tokens_as_they_lie_in_memory():
    block, seen = ConvNeXt(TINY).stages[0][0], []
    block.dwconv.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], output)))
    x = torch.randn(2, 6, 6, 8)
    block(x)
    ((given, made),) = seen
    assert given.data_ptr() == x.data_ptr()
    assert given.is_contiguous(memory_format=torch.channels_last)
    assert made.movedim(1, -1).is_contiguous()


def test_fresh_weights_are_those_of_the_paper():
    model = ConvNeXt(ConvNeXtConfig())
    assert all(torch.equal(m.gamma, torch.full_like(m.gamma, 1e-6)) for m in model.modules() if type(m) is LayerScale)
    assert model.stages[3][0].mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.downsamples[2].proj.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not any(m.bias.any() for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear))


def test_isotropic_models_have_one_stage_and_no_norm_after_the_stem():
    config = dataclasses.replace(VARIANTS["convnext_iso_small"], dims=(8,), depths=(4,))
    model = ConvNeXt(config)
    assert (model.channels, model.strides) == ((8,), ((16, 16),))
    assert tuple(model(torch.randn(1, 3, 40, 63)).levels[0].shape) == (1, 8, 2, 3)
    assert not any("gamma" in name or "patch_embed.norm" in name for name, _ in model.named_parameters())


@pytest.mark.parametrize(
    ("name", "groups"),
    [("convnext_tiny", 7), ("convnext_small", 13), ("convnext_xlarge", 13), ("convnext_iso_small", 7)],
)
def test_layer_decay_has_the_papers_groups(name, groups):
    """The embedding and 12 groups of blocks; 6 of T."""
    with torch.device("meta"):
        model = ConvNeXt(VARIANTS[name])
    layers = model.layers()
    assert len(layers) == groups
    found = [p for modules in layers for module in modules for p in module.parameters()]
    assert len(found) == len(set(found)) == len(list(model.parameters()))


def test_downsampling_learns_at_the_rate_of_the_blocks_after_it():
    model = ConvNeXt(ConvNeXtConfig(dims=(8, 8, 8, 8), depths=(3, 3, 9, 3)))
    layers = model.layers()
    assert [i for i, modules in enumerate(layers) for module in modules if module in model.downsamples] == [2, 3, 6]


def test_drop_path_grows_over_all_blocks():
    rates = [block.drop_path.rate for stage in ConvNeXt(TINY, drop_path_rate=0.4).stages for block in stage]
    assert rates == pytest.approx([0.0, 0.2, 0.4])


def test_a_picture_too_small_for_the_last_stage_is_refused():
    with pytest.raises(UserError, match="20x7 pixels is too small for 2 stages; enlarge it to at least 8x8"):
        ConvNeXt(TINY)(torch.zeros(1, 3, 20, 7))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dims": (8,)}, "depths .* one entry a stage, 1 as in dims"),
        ({"dims": (8, 1 << 30)}, "65,536 in all"),
        ({"dims": 8}, "one entry a stage, .* each a whole number"),
        ({"depths": (1, 1 << 30)}, "1,000 in all"),
        ({"depths": (1, 0)}, "from 1 to 1,000"),
        ({"patch": (4, 4, 4)}, "2 whole numbers"),
        ({"in_chans": True}, "in_chans is True"),
        ({"layer_scale": float("nan")}, "layer_scale is nan"),
        ({"layer_scale": "1"}, "layer_scale is '1'"),
        ({"patch_norm": "no"}, "patch_norm is 'no'"),
    ],
)
def test_configs_that_no_model_can_have_are_refused(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        ConvNeXt(dataclasses.replace(TINY, **changes))
