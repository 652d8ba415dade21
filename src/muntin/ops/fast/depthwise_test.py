import pytest
import torch
import torch.nn.functional as F

from muntin.ops.fast.choice import BEFORE_THE_TABLE, use
from muntin.ops.fast.depthwise import depthwise_conv, weight_gradient


@pytest.fixture(autouse=True)
def _one_choice():
    """The same on every processor."""
    with use(BEFORE_THE_TABLE):
        yield


def parts(size=(9, 6), kernel=7, channels=5):
    torch.manual_seed(0)
    x = torch.randn(3, channels, *size).contiguous(memory_format=torch.channels_last)
    return x, torch.randn(channels, 1, kernel, kernel), torch.randn(channels)


@pytest.mark.parametrize("size", [(9, 6), (1, 3), (2, 20), (1, 1)])
@pytest.mark.parametrize("kernel", [5, 7])
def test_output_and_gradients_are_those_of_pytorch(size, kernel):
    ours, theirs = ([t.clone().requires_grad_() for t in parts(size, kernel)] for _ in range(2))
    grad = torch.randn(3, 5, *size)
    one, other = depthwise_conv(*ours), F.conv2d(*theirs, padding=kernel // 2, groups=5)
    assert "DepthwiseConv" in type(one.grad_fn).__name__
    torch.testing.assert_close(one, other)
    one.backward(grad)
    other.backward(grad)
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a.grad, b.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [(9, 6), (1, 3), (8, 20)])
@pytest.mark.parametrize("stride", [2, 3])
def test_strides_have_the_gradients_of_pytorch_too(size, stride):
    ours, theirs = ([t.clone().requires_grad_() for t in parts(size, 5)] for _ in range(2))
    one, other = depthwise_conv(*ours, stride), F.conv2d(*theirs, stride, 2, groups=5)
    assert "DepthwiseConv" in type(one.grad_fn).__name__
    torch.testing.assert_close(one, other)
    grad = torch.randn_like(one)
    one.backward(grad)
    other.backward(grad)
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a.grad, b.grad, atol=1e-4, rtol=1e-4)


def test_the_weight_gradient_is_a_sum_of_products_offset_by_offset():
    x, _, _ = parts((4, 5), 3, channels=2)
    grad = torch.randn(3, 2, 4, 5)
    padded = F.pad(x, (1, 1, 1, 1))
    slow = [[(padded[:, :, i : i + 4, j : j + 5] * grad).sum((0, 2, 3)) for j in range(3)] for i in range(3)]
    expected = torch.stack([torch.stack(row) for row in slow]).movedim(-1, 0)[:, None]
    torch.testing.assert_close(weight_gradient(x, grad, torch.Size((3, 3))), expected, atol=1e-5, rtol=1e-4)


def test_only_the_gradients_asked_for_are_computed():
    x, weight, _ = parts()
    weight.requires_grad_()
    depthwise_conv(x, weight, None).sum().backward()
    assert weight.grad is not None
    assert x.grad is None


def test_autocast_rounds_what_it_rounds_in_any_convolution():
    x, weight, bias = (t.requires_grad_() for t in parts())
    with torch.autocast("cpu", torch.bfloat16):
        y = depthwise_conv(x, weight, bias)
        expected = F.conv2d(x, weight, bias, padding=3, groups=5)
    assert torch.equal(y, expected)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert x.grad.dtype == weight.grad.dtype == bias.grad.dtype == torch.float32


def test_gradients_have_gradients():
    x, weight, bias = (t.requires_grad_() for t in parts())
    seconds = []
    for conv in (depthwise_conv, lambda *t: F.conv2d(*t, padding=3, groups=5)):
        (first,) = torch.autograd.grad(conv(x, weight, bias).square().sum(), weight, create_graph=True)
        seconds.append(torch.autograd.grad(first.square().sum(), x)[0])
    torch.testing.assert_close(*seconds, atol=1e-1, rtol=1e-4)


def test_other_types_small_kernels_and_no_gradients_go_the_ordinary_way():
    small = (t.requires_grad_() for t in parts(kernel=3))
    assert "DepthwiseConv" not in type(depthwise_conv(*small).grad_fn).__name__
    x, weight, bias = (t.double().requires_grad_() for t in parts())
    assert "DepthwiseConv" not in type(depthwise_conv(x, weight, bias).grad_fn).__name__
    with torch.no_grad():
        torch.testing.assert_close(depthwise_conv(x, weight, bias), F.conv2d(x, weight, bias, padding=3, groups=5))
    with torch.autocast("cpu", torch.bfloat16):  # leaves fp64 alone
        assert depthwise_conv(x, weight, bias).dtype == torch.float64


def test_a_batch_of_no_pictures_has_gradients_of_zero():
    weight = parts()[1].requires_grad_()
    depthwise_conv(torch.zeros(0, 5, 9, 6), weight, None).sum().backward()
    assert not weight.grad.any()
