import pytest
import torch
import torch.nn.functional as F
from torch import nn

from muntin.errors import UserError
from muntin.layers.patch import ConvEmbed, DepthwiseConv, PatchEmbed, PatchMerging, grid_size, merge_neighbours


@pytest.mark.parametrize(("size", "patch"), [((9,), (3,)), ((12, 20), (4, 4)), ((4, 6, 8), (2, 3, 4))])
def test_the_embedding_is_a_convolution_without_overlap(size, patch):
    embed, x = PatchEmbed(3, 5, patch, norm=False).double(), torch.randn(2, 3, *size).double()
    torch.testing.assert_close(embed(x), embed.proj(x).movedim(1, -1))


def test_sides_that_patches_do_not_divide_are_padded_right_and_bottom():
    embed, x = PatchEmbed(3, 5, (4, 4), norm=True), torch.randn(2, 3, 9, 14)
    padded = F.pad(x, (0, 2, 0, 3))
    assert embed(x).shape == (2, 3, 4, 5)
    torch.testing.assert_close(embed(x), embed.norm(embed.proj(padded).permute(0, 2, 3, 1)))


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((1, 4, 8, 8), "got 4 input channels; this model was built for 3"),
        ((3, 8, 8), r"shape \(3, 8, 8\); this model needs \(B, 3, H, W\)"),
        ((1, 3, 3, 8), "3x8 pixels is smaller than one patch of 4x4"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(shape, sentence):
    with pytest.raises(UserError, match=sentence):
        PatchEmbed(3, 5, (4, 4), norm=True)(torch.zeros(shape))


def test_neighbours_are_merged_rows_first():
    x = torch.randn(2, 4, 6, 3)
    official = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)
    assert torch.equal(merge_neighbours(x, (2, 2)), official)


def test_every_axis_is_merged_by_its_own_number_of_cells():
    x = torch.randn(1, 2, 4, 6, 3)
    merged = merge_neighbours(x, (2, 2, 2))
    assert merged.shape == (1, 1, 2, 3, 24)
    assert torch.equal(merged[0, 0, 1, 2, 3:6], x[0, 1, 2, 4])  # second in order: the first axis varies fastest
    frames = merge_neighbours(x, (1, 2, 2))
    assert torch.equal(frames[:, 1], merge_neighbours(x[:, 1], (2, 2)))


def test_odd_sides_are_padded_with_zeros_before_merging():
    x = torch.randn(2, 3, 5, 2)
    merged = merge_neighbours(x, (2, 2))
    assert torch.equal(merged, merge_neighbours(F.pad(x, (0, 0, 0, 1, 0, 1)), (2, 2)))
    assert not merged[:, -1, -1, 2:].any()


def test_merging_normalises_before_its_linear_map():
    merging, x = PatchMerging(3, cells=(2, 2)), torch.randn(2, 4, 6, 3)
    torch.testing.assert_close(merging(x), merging.reduction(merging.norm(merge_neighbours(x, (2, 2)))))
    assert merging(x).shape == (2, 2, 3, 6)


def test_the_grid_of_an_image_counts_partial_patches():
    assert grid_size((9, 16), (4, 4)) == (3, 4)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [((4, 4), (4, 4), (0, 0)), ((7, 7), (4, 4), (2, 2)), ((3, 2), (3, 2), ())]
)
@pytest.mark.parametrize("size", [(16, 24), (19, 26)])
def test_a_convolutional_embedding_is_the_convolution(kernel, stride, padding, size):
    embed, x = ConvEmbed(3, 8, kernel, stride, padding, nn.LayerNorm(8)), torch.randn(2, 3, *size)
    torch.testing.assert_close(embed(x), embed.norm(embed.proj(x).permute(0, 2, 3, 1)), atol=1e-5, rtol=1e-5)


def test_a_convolutional_embedding_refuses_what_does_not_fit():
    with pytest.raises(UserError, match="built for 3"):
        ConvEmbed(3, 8, (4, 4), (4, 4))(torch.randn(1, 2, 8, 8))
    with pytest.raises(UserError, match="smaller than one patch of 3x3"):
        ConvEmbed(3, 8, (7, 7), (4, 4), (2, 2))(torch.randn(1, 3, 2, 8))


def test_every_channel_has_a_kernel_of_its_own():
    torch.manual_seed(0)
    ours, theirs = DepthwiseConv(4, 5), nn.Conv2d(4, 4, 5, padding=2, groups=4)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 4, 6, 9)
    torch.testing.assert_close(ours(x), theirs(x))
    assert DepthwiseConv(4, 3, bias=False).bias is None
