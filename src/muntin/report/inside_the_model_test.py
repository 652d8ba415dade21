import pytest
import torch

from muntin.errors import UserError
from muntin.models.convnext import ConvNeXt, ConvNeXtConfig
from muntin.models.swin import Swin, SwinConfig
from muntin.models.swin_v2 import SwinV2, SwinV2Config
from muntin.models.vit import ViT, ViTConfig
from muntin.report import inside_the_model as lens

SHAPE = {"in_chans": 1, "dim": 8, "depths": (2, 2), "heads": (2, 4)}


@pytest.fixture
def swin():
    torch.manual_seed(0)
    return Swin(SwinConfig(**SHAPE, window=(4, 4)))


def test_amplitudes_are_the_channel_variances_of_the_block_outputs(swin):
    images = torch.randn(3, 1, 32, 32)
    found = lens.amplitudes(swin, images)
    swin.eval()
    x = swin.embed(images)
    for block in swin.stages[0]:
        x = block(x)
    assert [name for name, _ in found] == ["1.1", "1.2", "2.1", "2.2"]
    assert found[1][1] == pytest.approx(x.detach().reshape(-1, 8).var(0, correction=0).mean().item(), rel=1e-5)


def test_swin_v2_begins_as_the_identity_inside_a_stage():
    torch.manual_seed(0)
    found = dict(lens.amplitudes(SwinV2(SwinV2Config(**SHAPE, window=(4, 4))), torch.randn(2, 1, 32, 32)))
    assert found["1.1"] == found["1.2"]


def test_looking_changes_nothing(swin):
    swin.train()
    swin.stages[0][0].eval()
    flags = [module.training for module in swin.modules()]
    lens.amplitudes(swin, torch.randn(1, 1, 32, 32))
    lens.attention(swin, torch.randn(1, 32, 32))
    assert [module.training for module in swin.modules()] == flags
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in swin.modules())


def test_position_bias_is_drawn_at_key_minus_query(swin):
    first = lens.position_bias(swin)[0]
    bias = swin.stages[0][0].mix.position_bias((4, 4))  # (h, N, N), rows are queries
    assert first.heads.shape == (2, 7, 7)
    query, key = 1 * 4 + 2, 3 * 4 + 1  # cells (1, 2) and (3, 1): the key is 2 down and 1 to the left
    torch.testing.assert_close(first.heads[:, 3 + 2, 3 - 1], bias[:, query, key].detach())


def test_position_bias_shows_the_first_block_of_every_stage(swin):
    assert [one.name for one in lens.position_bias(swin)] == ["stage 1, block 1", "stage 2, block 1"]


@pytest.mark.parametrize("cell", [(0, 0), (4, 7), (8, 14), None])
def test_all_attention_lies_in_the_window_that_is_outlined(swin, cell):
    for one in lens.attention(swin, torch.randn(1, 36, 60), cell):  # 9 x 15 cells: padded to 12 x 16
        (top, bottom), (left, right) = one.seen
        inside = one.heads[:, top:bottom, left:right]
        assert (inside > 0).all()
        torch.testing.assert_close(inside.sum((1, 2)), one.heads.sum((1, 2)))


def test_attention_shows_a_plain_and_a_shifted_block_of_the_same_query(swin):
    plain, shifted = lens.attention(swin, torch.randn(1, 32, 32))
    assert (plain.cell, plain.shift, plain.seen) == ((4, 4), (0, 0), ((4, 8), (4, 8)))
    assert (shifted.cell, shifted.shift, shifted.seen) == ((4, 4), (2, 2), ((2, 6), (2, 6)))


def test_a_grid_of_one_window_has_no_shifted_block_and_shows_the_last_one(swin):
    first, last = lens.attention(swin, torch.randn(1, 16, 16))
    assert (first.name, last.name) == ("stage 1, block 1", "stage 1, block 2")
    assert {(one.window, one.shift) for one in (first, last)} == {((4, 4), (0, 0))}


def test_a_cell_outside_the_grid_is_refused(swin):
    with pytest.raises(UserError, match="8 x 8 cells"):
        lens.attention(swin, torch.randn(1, 32, 32), cell=(8, 0))


def test_a_stage_that_is_not_there_is_refused(swin):
    with pytest.raises(UserError, match="has 2 stages"):
        lens.attention(swin, torch.randn(1, 32, 32), level=2)


def test_a_model_without_attention_has_amplitudes_alone():
    model = ConvNeXt(ConvNeXtConfig(dims=(8, 16), depths=(1, 2)))
    assert [name for name, _ in lens.amplitudes(model, torch.randn(1, 3, 32, 32))] == ["1.1", "2.1", "2.2"]
    assert lens.attention(model, torch.randn(3, 32, 32)) == []
    assert lens.position_bias(model) == []


def test_attention_of_all_tokens_is_shown_over_the_whole_grid():
    torch.manual_seed(0)
    vit = ViT(ViTConfig(patch=(8, 8), dim=16, depth=2, heads=2, grid=(3, 3)))
    image = torch.randn(3, 24, 40)
    first, last = lens.attention(vit, image, cell=(1, 3))
    assert (first.name, last.name) == ("stage 1, block 1", "stage 1, block 2")
    assert first.heads.shape == (2, 3, 5)
    assert first.seen == ((0, 3), (0, 5))
    tokens = vit.blocks[0].norm1(vit.prefix(vit.position(vit.embed(image[None])).flatten(1, 2)))
    q, k, _ = vit.blocks[0].mix.qkv(tokens).unflatten(-1, (3, 2, 8)).unbind(2)
    logits = torch.einsum("hd,nhd->hn", q[0, 1 + 1 * 5 + 3], k[0]) / 8**0.5
    torch.testing.assert_close(first.heads.flatten(1), logits.softmax(-1)[:, 1:].detach())
