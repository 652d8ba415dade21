import torch

from muntin.ops.cached import cached, without_autocast


def test_a_constant_is_made_once_for_each_argument():
    made = []

    @cached
    def make(size: int) -> torch.Tensor:
        made.append(size)
        return torch.zeros(size)

    assert make(2) is make(2)
    assert make(3).shape == (3,)
    assert made == [2, 3]


def test_a_constant_made_under_inference_mode_serves_training_too():
    @cached
    def make() -> torch.Tensor:
        return torch.ones(2)

    with torch.inference_mode():
        make()
    weight = torch.ones(2, requires_grad=True)
    (weight * make()).sum().backward()
    assert torch.equal(weight.grad, torch.ones(2))


def test_autocast_is_off_inside():
    x = torch.ones(2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
        with without_autocast(x.device):
            assert (x @ x).dtype == torch.float32
