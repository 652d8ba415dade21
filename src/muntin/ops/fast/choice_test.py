import json

import pytest
import torch
import torch.nn.functional as F

from muntin.ops.fast import choice, depthwise, linear, window_attention
from muntin.ops.fast.choice import BEFORE_THE_TABLE, CASES, PYTORCH, TABLE, Choice, case_name, in_use, measured, use
from muntin.ops.windows import Windows

EVERYTHING = Choice("everything", frozenset(CASES))
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 3e-2}


def of(operator):
    """The cases of an operator, as parameters of a test."""
    return pytest.mark.parametrize(
        ("dtype", "shape"), [pytest.param(*case[1:], id=case_name(case)) for case in CASES if case[0] == operator]
    )


def both(compute):
    """What tuned code computes, and what PyTorch's own operators do."""
    found = []
    for way in (EVERYTHING, PYTORCH):
        with use(way):
            found.append(compute())
    return found


@of("linear")
def test_every_way_to_a_linear_map_gives_the_same_numbers(dtype, shape, monkeypatch):
    monkeypatch.setattr(linear, "LARGE_OUTPUT", 1000)
    torch.manual_seed(0)
    kind, size = shape.split(", ")
    c_out, gelu = 8 if kind == "narrows" else 24, "none" if kind == "GELU" else None
    x, weight = torch.randn(200 if size == "large" else 10, 16).to(dtype), (torch.randn(c_out, 16) / 4).to(dtype)
    bias = torch.randn(c_out).to(dtype)
    assert linear.shape_class(x, weight, gelu) == shape
    with torch.inference_mode():
        tuned, own = both(lambda: linear.linear(x, weight, bias, gelu))
    torch.testing.assert_close(tuned, own, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


@of("depthwise gradient")
def test_every_way_to_a_depthwise_convolution_gives_the_same_numbers(dtype, shape):
    torch.manual_seed(0)
    kernel, stride = (7 if "large kernel" in shape else 3), (2 if "strided" in shape else 1)
    x, weight = torch.randn(2, 4, 9, 8).to(dtype).requires_grad_(), torch.randn(4, 1, kernel, kernel).to(dtype)
    assert depthwise.shape_class(weight, stride) == shape

    def compute():
        y = depthwise.depthwise_conv(x, weight, None, stride)
        (gradient,) = torch.autograd.grad(y.float().square().sum(), x)
        return y, gradient, "DepthwiseConv" in type(y.grad_fn).__name__

    (y, gradient, by_hand), (own, own_gradient, own_by_hand) = both(compute)
    assert by_hand
    assert not own_by_hand
    torch.testing.assert_close(y, own, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])
    torch.testing.assert_close(gradient, own_gradient, atol=10 * TOLERANCE[dtype] * gradient.abs().max(), rtol=0)


@of("window attention")
@pytest.mark.parametrize("logit_scale", [None, torch.full((2, 1, 1), 2.0)], ids=["dot", "cosine"])
def test_every_way_to_window_attention_gives_the_same_numbers(dtype, shape, logit_scale):
    torch.manual_seed(0)
    side = 4 if shape == "small windows" else 9
    assert window_attention.shape_class(side * side) == shape
    qkv, table = torch.randn(2, 2 * side, 2 * side, 3 * 16, dtype=dtype), torch.randn(30, 2, dtype=dtype)
    index, w = torch.randint(30, (side**2, side**2)), Windows((side, side), (1, 1), 2, 8**-0.5)
    with torch.inference_mode():
        tuned, own = both(lambda: window_attention.fast_window_attention(qkv, table, index, w, logit_scale=logit_scale))
    torch.testing.assert_close(tuned, own, atol=1e-5, rtol=1e-5)


def test_a_choice_decides_which_way_is_taken(monkeypatch):
    asked = []
    monkeypatch.setattr(linear, "fused_linear_works", lambda dtype: asked.append(dtype))
    with torch.inference_mode():
        both(lambda: linear.linear(torch.randn(3, 4), torch.randn(2, 4), None))
    assert asked == [torch.float32]  # once, where the choice is tuned code


def test_where_this_build_of_torch_lacks_the_operator_its_own_is_used(monkeypatch):
    def lacking(*_):
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", lacking)
    linear.fused_linear_works.cache_clear()
    x, weight = torch.randn(3, 4), torch.randn(2, 4)
    try:
        with use(EVERYTHING), torch.inference_mode():
            assert torch.equal(linear.linear(x, weight, None), F.linear(x, weight))
    finally:
        linear.fused_linear_works.cache_clear()


def test_the_table_names_known_cases_for_every_set():
    table, known = json.loads(TABLE.read_text(encoding="utf-8")), {case_name(case) for case in CASES}
    assert table["format"] == "muntin-choices/1"
    assert set(table["sets"]) == {"avx2", "avx512", "avx512_bf16", "amx"}
    for name, row in table["sets"].items():
        assert set(row["tuned"]) <= known
        assert set(row["ratios"]) in (known, set())
        assert row["measured"]
        assert len(measured(name).tuned) == len(row["tuned"])


def test_amx_computes_as_before_there_was_a_table():
    assert measured("amx").tuned == BEFORE_THE_TABLE.tuned


@pytest.mark.parametrize(
    ("capability", "flags", "expected"),
    [
        ("AVX2", {"avx512_bf16": True}, "avx2"),  # ATEN_CPU_CAPABILITY says less than the processor has
        ("AVX512", {}, "avx512"),
        ("AVX512", {"avx512_bf16": True, "amx_bf16": False}, "avx512_bf16"),
        ("AVX512", {"avx512_bf16": True, "amx_bf16": True}, "amx"),
        ("DEFAULT", {}, "default"),
        ("SVE256", {}, "sve256"),
    ],
)
def test_the_set_of_instructions_has_a_name(capability, flags, expected, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags)
    assert choice.instruction_set.__wrapped__() == expected


def test_a_set_that_nobody_measured_has_the_operators_of_pytorch():
    assert measured("sve256") == PYTORCH


def test_the_innermost_choice_is_in_use():
    outside = in_use()
    with use(PYTORCH):
        with use(EVERYTHING):
            assert in_use() == EVERYTHING
        assert in_use() == PYTORCH
    assert in_use() == outside


def test_a_choice_comes_back_from_json():
    assert Choice.from_dict(json.loads(json.dumps(BEFORE_THE_TABLE.to_dict()))) == BEFORE_THE_TABLE


def test_cases_of_another_version_of_muntin_are_ignored():
    assert Choice.from_dict({"name": "later", "tuned": ["rotation, float8, square"]}) == Choice("later", frozenset())
