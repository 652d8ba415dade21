import torch

from muntin.heads import LevelNorms, PooledReadout


def test_the_norm_comes_before_the_mean():
    torch.manual_seed(0)
    readout = PooledReadout(4, num_classes=3)
    coarsest = torch.randn(2, 4, 3, 5)
    tokens = coarsest.permute(0, 2, 3, 1).reshape(2, 15, 4)
    pooled = torch.stack([readout.norm(t) for t in tokens.unbind(1)]).mean(0)
    torch.testing.assert_close(readout.pool([coarsest]), pooled)
    torch.testing.assert_close(readout([torch.zeros(2, 2, 6, 10), coarsest]), readout.head(pooled))


def test_without_classes_the_features_are_left_as_they_are():
    readout, levels = PooledReadout(4, num_classes=0), [torch.randn(2, 4, 3, 5)]
    assert torch.equal(readout(levels), readout.pool(levels))


def test_a_new_head_is_narrow_and_unbiased():
    readout = PooledReadout(400, num_classes=50)
    assert 0.019 < readout.head.weight.std() < 0.021
    assert not readout.head.bias.any()


def test_each_level_has_a_norm_of_its_own():
    torch.manual_seed(0)
    norms = LevelNorms((4, 8))
    levels = [torch.randn(2, 4, 6, 5), torch.randn(2, 8, 3, 3)]
    for found, level in zip(norms(levels), levels, strict=True):
        assert found.shape == level.shape
        tokens = level.movedim(1, -1)
        standard = (tokens - tokens.mean(-1, keepdim=True)) / (
            tokens.var(-1, unbiased=False, keepdim=True) + 1e-5
        ).sqrt()
        torch.testing.assert_close(found.movedim(1, -1), standard)


def test_chosen_levels_keep_their_numbers_in_checkpoints():
    norms = LevelNorms((4, 8, 16), out_levels=(0, 2))
    assert list(norms.state_dict()) == ["norms.0.weight", "norms.0.bias", "norms.2.weight", "norms.2.bias"]
    levels = [torch.randn(1, c, 2, 3) for c in (4, 8, 16)]
    assert [level.shape[1] for level in norms(levels)] == [4, 16]
