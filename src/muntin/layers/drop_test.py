import pytest
import torch

from muntin.layers.drop import DropPath, drop_path_ramp


def test_whole_samples_are_dropped_and_survivors_grow():
    torch.manual_seed(0)
    x = torch.ones(64, 3, 2)
    dropped = DropPath(0.25)(x)
    kept = dropped[:, 0, 0] != 0
    assert 0 < kept.sum() < 64
    torch.testing.assert_close(dropped, kept[:, None, None] * x / 0.75)


def test_the_expectation_is_kept():
    torch.manual_seed(0)
    assert DropPath(0.3)(torch.ones(20_000, 1)).mean().item() == pytest.approx(1.0, abs=0.02)  # four standard errors


def test_nothing_is_dropped_in_eval_or_at_rate_zero():
    x = torch.randn(8, 3)
    assert DropPath(0.9).eval()(x) is x
    assert DropPath(0.0)(x) is x


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_that_is_no_chance_is_refused(rate):
    with pytest.raises(ValueError, match="must be a chance"):
        DropPath(rate)


def test_rates_grow_over_the_whole_depth():
    ramp = drop_path_ramp(0.2, (2, 2, 1))
    assert ramp == [pytest.approx([0.0, 0.05]), pytest.approx([0.1, 0.15]), pytest.approx([0.2])]
    assert drop_path_ramp(0.5, (1,)) == [[0.0]]
