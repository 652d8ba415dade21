import torch
from torch import nn

from muntin.layers.depthwise import DepthwiseConv


def test_every_channel_has_a_kernel_of_its_own():
    torch.manual_seed(0)
    ours, theirs = DepthwiseConv(4, 5), nn.Conv2d(4, 4, 5, padding=2, groups=4)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 4, 6, 9)
    torch.testing.assert_close(ours(x), theirs(x))
    assert DepthwiseConv(4, 3, bias=False).bias is None
