import torch
from torch import nn

from muntin.layers.blocks import PreNormBlock
from muntin.layers.mlp import Mlp


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
