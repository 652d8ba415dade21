import pytest
import torch
from torch import nn

from muntin.engine.lamb import Lamb


def _groups(tensors, lr=0.02):
    """The first two decay, the rest do not."""
    weights = [nn.Parameter(tensor.clone()) for tensor in tensors]
    return weights, [
        {"params": weights[:2], "lr": lr, "weight_decay": 0.1},
        {"params": weights[2:], "lr": lr, "weight_decay": 0.0},
    ]


def _by_hand(w, gradients, lr, decay, betas=(0.9, 0.99), eps=1e-6):
    """The paper's algorithm 2, one tensor after the other."""
    m, v = torch.zeros_like(w), torch.zeros_like(w)
    for t, g in enumerate(gradients, 1):
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        u = (m / (1 - betas[0] ** t)) / ((v / (1 - betas[1] ** t)).sqrt() + eps) + decay * w
        ratio = w.norm() / u.norm() if decay and w.norm() > 0 and u.norm() > 0 else 1.0
        w = w - lr * ratio * u
    return w


def test_updates_are_the_papers():
    torch.manual_seed(0)
    tensors = [torch.randn(4, 5), torch.zeros(3, 2), torch.randn(6), torch.zeros(2)]
    weights, groups = _groups(tensors)
    optimizer = Lamb(groups, lr=0.02, betas=(0.9, 0.99), eps=1e-6)
    gradients = [[torch.randn_like(w) * 10.0**step for w in weights] for step in range(-2, 3)]
    for each in gradients:
        for w, g in zip(weights, each):
            w.grad = g
        optimizer.step()
    for number, (w, start) in enumerate(zip(weights, tensors)):
        expected = _by_hand(start, [each[number] for each in gradients], 0.02, 0.1 if number < 2 else 0.0)
        torch.testing.assert_close(w.detach(), expected)


def test_a_step_is_as_long_as_the_weights_whatever_the_gradients():
    for scale in (1e-3, 1e3):
        (w, _), groups = _groups([torch.ones(5, 5), torch.ones(1)], lr=0.01)
        w.grad = scale * torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
        Lamb(groups, lr=0.01, betas=(0.9, 0.999), eps=1e-8).step()
        assert (w - 1).norm().item() == pytest.approx(0.01 * 5, rel=1e-4)


def test_a_parameter_without_a_gradient_stays_and_counts_its_own_steps():
    weights, groups = _groups([torch.ones(2, 2), torch.ones(2, 2)])
    optimizer = Lamb(groups, lr=0.02, betas=(0.9, 0.99), eps=1e-6)
    gradients = [torch.randn(2, 2, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]
    weights[0].grad = gradients[0]
    optimizer.step()
    assert torch.equal(weights[1], torch.ones(2, 2))
    weights[0].grad, weights[1].grad = gradients[1], gradients[0]
    optimizer.step()
    torch.testing.assert_close(weights[0].detach(), _by_hand(torch.ones(2, 2), gradients, 0.02, 0.1))
    torch.testing.assert_close(weights[1].detach(), _by_hand(torch.ones(2, 2), gradients[:1], 0.02, 0.1))


def test_a_tensor_of_zeros_without_gradients_stays_finite():
    weights, groups = _groups([torch.zeros(2, 2), torch.ones(2, 2)])
    for w in weights:
        w.grad = torch.zeros_like(w)
    Lamb(groups, lr=0.02, betas=(0.9, 0.99), eps=1e-6).step()
    assert torch.equal(weights[0], torch.zeros(2, 2))
    torch.testing.assert_close(weights[1].detach(), torch.full((2, 2), 0.98))
