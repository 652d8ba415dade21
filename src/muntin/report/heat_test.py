import torch

from muntin.report import heat


def test_zero_is_left_blank_and_signs_have_their_colours():
    svg = heat.diverging(torch.tensor([[0.0, 1.0], [-0.5, 0.0]]), 1.0, "bias")
    assert '<path class="more" fill-opacity="1" d="M1 0h1v1h-1z">' in svg
    assert '<path class="less" fill-opacity="0.5" d="M0 1h1v1h-1z">' in svg
    assert svg.count("<path") == 2


def test_a_constant_map_is_blank():
    assert "<path" not in heat.diverging(torch.zeros(3, 3), 0.0, "bias")
