import pytest
import torch
import torch.nn.functional as F
from torch import nn

from muntin.layers.mlp import Mlp, QuickGELU


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
