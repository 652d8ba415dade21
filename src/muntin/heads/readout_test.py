import pytest
import torch

from muntin.errors import UserError
from muntin.heads import (
    DistilledReadout,
    LevelNorms,
    MeanNormReadout,
    MeanReadout,
    PooledReadout,
    TokenReadout,
    mean_logits,
)


def test_the_norm_comes_before_the_mean():
    torch.manual_seed(0)
    readout = PooledReadout(4, num_classes=3)
    coarsest = torch.randn(2, 4, 3, 5)
    tokens = coarsest.permute(0, 2, 3, 1).reshape(2, 15, 4)
    pooled = torch.stack([readout.norm(t) for t in tokens.unbind(1)]).mean(0)
    torch.testing.assert_close(readout.pool([coarsest]), pooled)
    torch.testing.assert_close(readout([torch.zeros(2, 2, 6, 10), coarsest])[0], readout.head(pooled))


def test_without_classes_the_features_are_left_as_they_are():
    readout, levels = PooledReadout(4, num_classes=0), [torch.randn(2, 4, 3, 5)]
    assert torch.equal(readout(levels)[0], readout.pool(levels))


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


# --- the other readouts ---


@pytest.fixture
def features():
    torch.manual_seed(0)
    return [torch.randn(2, 4, 6, 5), torch.randn(2, 8, 3, 2)], torch.randn(2, 2, 8)


def test_the_norm_comes_after_the_mean(features):
    readout = MeanNormReadout(8, 3)
    torch.testing.assert_close(readout(*features)[0], readout.head(readout.norm(features[0][-1].mean((2, 3)))))


def test_the_plain_mean_has_no_norm(features):
    readout = MeanReadout(8, 3)
    torch.testing.assert_close(readout(*features)[0], readout.head(features[0][-1].mean((2, 3))))
    assert set(readout.state_dict()) == {"head.weight", "head.bias"}


def test_the_class_token_is_the_first(features):
    readout = TokenReadout(8, 3)
    torch.testing.assert_close(readout(*features)[0], readout.head(readout.norm(features[1][:, 0])))


@pytest.mark.parametrize("kind", [TokenReadout, PooledReadout])
def test_a_representation_stands_before_the_head(kind, features):
    readout = kind(8, 3, representation=5)
    vector = readout.vector(*features)
    torch.testing.assert_close(readout(*features)[0], readout.head(readout.representation(vector).tanh()))
    assert kind(8, 0, representation=5)(*features)[0].shape == (2, 5)


def test_a_distilled_readout_gives_the_logits_of_both_heads(features):
    readout = DistilledReadout(8, 3)
    by_class, by_distillation = readout(*features)
    torch.testing.assert_close(by_class, readout.head(readout.norm(features[1][:, 0])))
    torch.testing.assert_close(by_distillation, readout.head_distilled(readout.norm(features[1][:, 1])))
    torch.testing.assert_close(mean_logits((by_class, by_distillation)), (by_class + by_distillation) / 2)
    assert len(readout.heads()) == 2


def test_a_token_that_is_not_there_is_missed(features):
    with pytest.raises(UserError, match="classifies token 2 before the cells, and the backbone gives 1"):
        DistilledReadout(8, 3)(features[0], features[1][:, :1])
    with pytest.raises(UserError, match="classifies token 1 before the cells, and the backbone gives 0"):
        TokenReadout(8, 3)(features[0])


def test_a_head_of_scale_zero_gives_equal_odds(features):
    readout = DistilledReadout(8, 3)
    readout.set_head(4, scale=0.0)
    assert all(torch.equal(logits, torch.zeros(2, 4)) for logits in readout(*features))
