import warnings

import pytest
import torch
import torch.nn.functional as F

from muntin.ops.fast.choice import BEFORE_THE_TABLE, use
from muntin.ops.fast.linear import fused_linear_works, linear

SHAPES = [(5, 3), (2, 7, 9), (1, 4, 6, 33)]  # 3, 9 or 33 channels in


@pytest.mark.parametrize("gelu", [None, "none", "tanh"])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_equals_the_linear_map_and_gelu_of_pytorch(dtype, atol, shape, with_bias, gelu):
    torch.manual_seed(0)
    x, weight = torch.randn(shape, dtype=dtype), torch.randn(8, shape[-1], dtype=dtype) / shape[-1] ** 0.5
    bias = torch.randn(8, dtype=dtype) if with_bias else None
    slow = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
    slow = F.gelu(slow, approximate=gelu) if gelu else slow
    with torch.inference_mode(), use(BEFORE_THE_TABLE):
        fast = linear(x, weight, bias, gelu)
    assert fast.dtype == dtype
    torch.testing.assert_close(fast.double(), slow, atol=atol, rtol=atol)


@pytest.mark.parametrize("trained", ["x", "weight", "bias"])
def test_each_argument_gets_its_gradient_when_it_alone_is_trained(trained):
    torch.manual_seed(0)
    given = {"x": torch.randn(4, 6), "weight": torch.randn(3, 6), "bias": torch.randn(3)}
    given[trained].requires_grad_()
    (gradient,) = torch.autograd.grad(linear(**given, gelu="none").square().sum(), given[trained])
    (expected,) = torch.autograd.grad(F.gelu(F.linear(*given.values())).square().sum(), given[trained])
    torch.testing.assert_close(gradient, expected)


def test_a_bias_may_have_strides():
    x, weight, bias = torch.randn(4, 6), torch.randn(3, 6), torch.randn(3, 2)[:, 0]
    with torch.inference_mode(), use(BEFORE_THE_TABLE):
        torch.testing.assert_close(linear(x, weight, bias), F.linear(x, weight, bias))


def test_traced_graphs_and_batched_calls_compute_the_same():
    x, weight, bias = torch.randn(4, 6), torch.randn(3, 6), torch.randn(3)
    expected = F.linear(x, weight, bias)
    with warnings.catch_warnings(), use(BEFORE_THE_TABLE):
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("error", torch.jit.TracerWarning)
        traced = torch.jit.trace(lambda x: linear(x, weight, bias), x[:2])
        torch.testing.assert_close(traced(x), expected)
        torch.testing.assert_close(torch.vmap(lambda x: linear(x, weight, bias))(x), expected)
        torch.testing.assert_close(torch.compile(linear, backend="eager", fullgraph=True)(x, weight, bias), expected)


def test_the_private_operator_is_not_used_for_types_it_does_not_take():
    assert not fused_linear_works(torch.float64)
    assert not fused_linear_works(torch.int64)
