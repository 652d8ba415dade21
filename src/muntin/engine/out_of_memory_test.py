import errno

import pytest
import torch

from muntin.engine.toys_test import Toy, fit_toy
from muntin.errors import RunError


class Greedy(Toy):
    """Runs out of memory, as torch says it on the CPU or on CUDA, or Python or the system says it."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def losses(self, batch):
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_running_out_of_memory_says_what_took_it_and_what_to_change(tmp_path, error):
    with pytest.raises(RunError, match="out of memory on cpu while training, after step 0") as stop:
        fit_toy(tmp_path, Greedy(error), training={"ema": 0.5})
    for words in (
        "parameters 0.0 MiB",
        "gradients",
        "optimizer",
        "EMA",
        "activations of image 4 x 6",
        "--accumulate 2",
    ):
        assert words in str(stop.value)
    assert "--checkpointing" in str(stop.value)


def test_running_out_of_memory_in_an_evaluation_speaks_of_its_batch(tmp_path):
    def evaluate(task):
        raise MemoryError

    with pytest.raises(RunError, match=r"while evaluating, after step 6: .*to need less: a smaller --val-batch-size"):
        fit_toy(tmp_path, evaluate=evaluate)


def test_other_errors_are_not_taken_for_a_lack_of_memory(tmp_path):
    with pytest.raises(RuntimeError, match="of ours"):
        fit_toy(tmp_path, Greedy(RuntimeError("a fault of ours")))
