import math

import pytest
import torch

from muntin.ops.attention import attend, key_bias, temperature_scale, unit_vectors


@pytest.mark.parametrize("backend", ["reference", "sdpa"])
def test_attention_is_a_weighted_mean_of_values(backend):
    random = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 5, 4, generator=random, dtype=torch.float64)
    bias = torch.randn(5, 5, generator=random, dtype=torch.float64)
    found = attend(q, k, v, bias, backend)
    for b in range(2):
        for i in range(5):
            weights = [math.exp(float(q[b, i] @ k[b, j] + bias[i, j])) for j in range(5)]
            expected = sum(w * v[b, j] for j, w in enumerate(weights)) / sum(weights)
            torch.testing.assert_close(found[b, i], expected)


def test_logits_are_wide_whatever_the_input():
    q = torch.full((1, 1, 1), 256.0).bfloat16()
    k = torch.tensor([[[1.0], [1.0078125]]]).bfloat16()  # logits 256 and 258, one number in bf16
    v = torch.tensor([[[0.0], [1.0]]]).bfloat16()
    assert attend(q, k, v, torch.zeros(1, 2), "reference").item() == pytest.approx(1 / (1 + math.exp(-2)), abs=0.01)


@pytest.mark.parametrize("with_bias", [False, True])
def test_the_faster_way_in_bf16_is_the_same_attention(with_bias):
    random = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, n, 8, generator=random) for n in (7, 5, 5))
    bias = torch.randn(7, 5, generator=random) if with_bias else None
    rounded = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), bias, "auto")
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), attend(q, k, v, bias, "reference"), atol=0.05, rtol=0.05)
    torch.testing.assert_close(attend(q, k, v, bias, "auto"), attend(q, k, v, bias, "sdpa"))


@pytest.mark.parametrize("backend", ["auto", "reference", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_hidden_keys_have_no_part_in_the_answer(backend, dtype):
    random = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 4, generator=random).to(dtype).requires_grad_() for n in (6, 5, 5))
    mask = torch.tensor([[True] * 3 + [False] * 2, [True] * 5])
    found = attend(q, k, v, key_bias(mask), backend)
    short = attend(q[:1], k[:1, :, :3], v[:1, :, :3], None, backend)
    torch.testing.assert_close(found[:1], short)
    torch.testing.assert_close(found[1:], attend(q[1:], k[1:], v[1:], None, backend))
    found.sum().backward()
    assert not k.grad[0, :, 3:].any()
    assert not v.grad[0, :, 3:].any()


@pytest.mark.parametrize("backend", ["auto", "reference", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_sequence_of_padding_alone_stays_finite(backend, dtype):
    q = torch.randn(1, 1, 3, 4).to(dtype)
    assert attend(q, q, q, key_bias(torch.zeros(1, 3, dtype=torch.bool)), backend).isfinite().all()


def test_temperature_is_at_least_one_hundredth():
    scale = temperature_scale(torch.tensor([[[math.log(10)]], [[5.0]]]))
    torch.testing.assert_close(scale.flatten(), torch.tensor([10.0, 100.0]))


def test_unit_vectors_have_length_one_and_zero_stays_zero():
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    torch.testing.assert_close(unit_vectors(x), torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
