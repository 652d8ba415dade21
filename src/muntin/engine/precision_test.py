import pytest
import torch

from muntin.engine import precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("capability", ["amx_bf16", "avx512_bf16", "bf16"])
def test_auto_is_bf16_where_the_cpu_has_it(capability, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {capability: True, "avx512_f": True})
    with precision.autocast(CPU, "auto"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_auto_is_fp32_where_the_cpu_lacks_it(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False, "avx512_f": True})
    with precision.autocast(CPU, "auto"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_the_context_can_be_entered_again():
    context = precision.autocast(CPU, "bf16")
    for _ in range(2):
        with context:
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_fp32_casts_nothing():
    with precision.autocast(CPU, "fp32"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
