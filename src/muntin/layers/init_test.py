import pytest
import torch
from torch import nn

from muntin.layers.init import init_transformer


def test_linear_layers_are_narrow_and_norms_start_as_identity():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(200, 200), nn.LayerNorm(200), nn.Linear(200, 3, bias=False))
    for parameter in model.parameters():
        nn.init.constant_(parameter, 7.0)
    model.apply(init_transformer)
    assert model[0].weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert not model[0].bias.any()
    assert torch.equal(model[1].weight, torch.ones(200))
    assert not model[1].bias.any()


def test_convolutions_keep_their_values():
    convolution = nn.Conv2d(3, 4, 2)
    before = convolution.weight.clone()
    init_transformer(convolution)
    assert torch.equal(convolution.weight, before)
