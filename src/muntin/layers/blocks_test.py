import torch
from torch import nn

from muntin.layers.blocks import PostNormBlock, PreNormBlock, ScaledPreNormBlock
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
