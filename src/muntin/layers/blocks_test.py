import pytest
import torch
import torch.nn.functional as F
from torch import nn

from muntin.layers.blocks import (
    DropPath,
    Mlp,
    PostNormBlock,
    PreNormBlock,
    QuickGELU,
    ScaledPreNormBlock,
    Series,
    drop_path_ramp,
)


def test_branch_inputs_are_normalised_and_the_main_path_is_not():
    torch.manual_seed(0)
    block = PreNormBlock(4, nn.Linear(4, 4), Mlp(4, 8), nn.Identity())
    x = torch.randn(2, 3, 5, 4)
    half = x + block.mix(block.norm1(x))
    torch.testing.assert_close(block(x), half + block.mlp(block.norm2(half)))


def test_the_gelu_is_the_exact_one():
    mlp = Mlp(1, 1)
    with torch.no_grad():
        for layer in (mlp.fc1, mlp.fc2):
            layer.weight.fill_(1.0)
            layer.bias.zero_()
    exact = 0.5 * (1 + torch.erf(torch.tensor(0.5).sqrt()))  # x * Phi(x) at x = 1
    torch.testing.assert_close(mlp(torch.ones(1)), exact[None], rtol=0, atol=1e-6)  # the tanh form is off by 1.5e-4


def test_layer_scale_multiplies_both_branches():
    torch.manual_seed(0)
    block, x = ScaledPreNormBlock(4, nn.Linear(4, 4), Mlp(4, 8), nn.Identity()), torch.randn(2, 3, 4)
    nn.init.normal_(block.scale1.gamma)
    nn.init.normal_(block.scale2.gamma)
    half = x + block.scale1.gamma * block.mix(block.norm1(x))
    torch.testing.assert_close(block(x), half + block.scale2.gamma * block.mlp(block.norm2(half)))


def test_sums_are_normalised_after_each_branch():
    torch.manual_seed(0)
    block, x = PostNormBlock(4, nn.Linear(4, 4), Mlp(4, 8)), torch.randn(2, 3, 4)
    half = block.norm1(x + block.mix(x))
    torch.testing.assert_close(block(x), block.norm2(half + block.mlp(half)))


def test_what_else_a_block_is_given_goes_to_its_mixer():
    class Plus(nn.Module):
        def forward(self, x, more):
            return x + more

    block, x = PreNormBlock(4, Plus(), nn.Identity(), nn.Identity()), torch.randn(2, 3, 4)
    half = x + block.norm1(x) + 2.0
    torch.testing.assert_close(block(x, 2.0), half + block.norm2(half))


def test_a_series_hands_each_module_what_the_one_before_gave():
    class TimesPlus(nn.Module):
        def forward(self, x, more):
            return 2 * x + more

    assert Series(TimesPlus() for _ in range(3))(torch.ones(1), 10).item() == 2 * (2 * (2 + 10) + 10) + 10
    assert Series()(torch.ones(1)).item() == 1


# --- the MLP ---


@pytest.mark.parametrize(
    ("activation", "formula"),
    [
        (None, F.gelu),
        (nn.GELU("tanh"), lambda x: F.gelu(x, approximate="tanh")),
        (QuickGELU(), lambda x: x / (1 + torch.exp(-1.702 * x))),
    ],
)
@pytest.mark.parametrize("grad", [True, False])
def test_the_activation_stands_between_two_linear_maps(activation, formula, grad):
    torch.manual_seed(0)
    mlp, x = Mlp(6, 24, activation), torch.randn(2, 5, 6)
    with torch.set_grad_enabled(grad):
        found = mlp(x)
    hidden = formula(F.linear(x, mlp.fc1.weight, mlp.fc1.bias))
    torch.testing.assert_close(found, F.linear(hidden, mlp.fc2.weight, mlp.fc2.bias), atol=1e-6, rtol=1e-5)


def test_a_hook_on_the_activation_sees_it():
    mlp, seen = Mlp(6, 24), []
    mlp.activation.register_forward_hook(lambda module, given, output: seen.append(output.shape))
    with torch.no_grad():
        mlp(torch.randn(2, 6))
    assert seen == [(2, 24)]


def test_dropout_stands_after_both_maps():
    torch.manual_seed(0)
    mlp = Mlp(64, 64, nn.Identity(), dropout=0.5)
    nn.init.eye_(mlp.fc1.weight), nn.init.eye_(mlp.fc2.weight)
    nn.init.zeros_(mlp.fc1.bias), nn.init.zeros_(mlp.fc2.bias)
    out = mlp(torch.ones(500, 64))
    assert set(out.unique().tolist()) == {0.0, 4.0}
    assert (out > 0).float().mean() == pytest.approx(0.25, abs=0.02)


# --- stochastic depth ---


def test_whole_samples_are_dropped_and_survivors_grow():
    torch.manual_seed(0)
    x = torch.ones(64, 3, 2)
    dropped = DropPath(0.25)(x)
    kept = dropped[:, 0, 0] != 0
    assert 0 < kept.sum() < 64
    torch.testing.assert_close(dropped, kept[:, None, None] * x / 0.75)


def test_the_expectation_is_kept():
    torch.manual_seed(0)
    assert DropPath(0.3)(torch.ones(20_000, 1)).mean().item() == pytest.approx(1.0, abs=0.02)  # four standard errors


def test_nothing_is_dropped_in_eval_or_at_rate_zero():
    x = torch.randn(8, 3)
    assert DropPath(0.9).eval()(x) is x
    assert DropPath(0.0)(x) is x


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_that_is_no_chance_is_refused(rate):
    with pytest.raises(ValueError, match="must be a chance"):
        DropPath(rate)


def test_rates_grow_over_the_whole_depth():
    ramp = drop_path_ramp(0.2, (2, 2, 1))
    assert ramp == [pytest.approx([0.0, 0.05]), pytest.approx([0.1, 0.15]), pytest.approx([0.2])]
    assert drop_path_ramp(0.5, (1,)) == [[0.0]]
