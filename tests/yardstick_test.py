"""The yardstick of the benchmarks is Swin-T: the same parameters and logits as muntin's."""

import importlib.util
from pathlib import Path

import torch

from muntin import create_model
from muntin.formats.swin import read

YARDSTICK = Path(__file__).parents[1] / "benchmarks" / "yardstick.py"


def test_the_network_of_the_yardstick_is_swin_t():
    spec = importlib.util.spec_from_file_location(
        "yardstick", Path(__file__).parents[1] / "benchmarks" / "yardstick.py"
    )
    assert spec
    assert spec.loader
    spec.loader.exec_module(yardstick := importlib.util.module_from_spec(spec))
    torch.manual_seed(0)
    theirs, ours = yardstick.SwinTiny(), create_model("swin_tiny").eval()
    ours.load_state_dict(read(theirs.state_dict()).tensors)
    images = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        expected = theirs(images)
        torch.testing.assert_close(ours(images), expected, atol=1e-5, rtol=0)
    assert expected.std() > 0.1
