import pytest

from muntin.engine.settings import Training
from muntin.errors import UserError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"accumulate": 0}, "accumulate is 0; it must be at least 1"),
        ({"workers": -1}, "workers is -1; it must be at least 0"),
        ({"save_steps": -1}, "save_steps is -1; it must be at least 0"),
        ({"skip_nonfinite": -1}, "skip_nonfinite is -1; it must be at least 0"),
        ({"seed": -1}, "seed is -1; it must be at least 0 and below 2\\^63"),
        ({"seed": 2**64}, "seed is"),
        ({"ema": float("nan")}, "ema is nan; it must be a decay"),
        ({"ema": 1.0}, "ema is 1.0"),
        ({"precision": "fp16"}, "precision is fp16; it must be auto, fp32 or bf16"),
    ],
)
def test_impossible_values_are_refused_with_field_value_and_range(values, message):
    with pytest.raises(UserError, match=message):
        Training(**values)


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(UserError, match="use a multiple of 6"):
        Training(batch_size=16, accumulate=3).micro_batch(world=2)
