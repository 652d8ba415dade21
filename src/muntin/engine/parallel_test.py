import copy

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from muntin.engine import parallel
from muntin.errors import UserError


class Block(nn.Module):
    def __init__(self, number):
        super().__init__()
        self.number, self.linear, self.dropout = number, nn.Linear(4, 4), nn.Dropout(0.5)

    def forward(self, x):
        return x + self.dropout(self.linear(x).relu()) * (1 + self.number)


class Stack(nn.Module):
    def __init__(self, depth=2):
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(Block(number) for number in range(depth))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x

    def layers(self):
        return [[block] for block in self.blocks]


def _gradients(model, x):
    torch.manual_seed(1)
    model(x).square().sum().backward()
    return [p.grad for p in model.parameters()]


def test_one_process_needs_no_launcher():
    assert parallel.setup("cpu") == torch.device("cpu")
    assert (parallel.rank(), parallel.world()) == (0, 1)
    assert parallel.all_sum(torch.ones(2)).tolist() == [1, 1]
    parallel.barrier()
    parallel.cleanup()


def test_checkpointing_keeps_names_and_gradients_and_recomputes():
    x, plain = torch.randn(3, 4), Stack()
    task = copy.deepcopy(plain)
    calls = []
    task.blocks[0].linear.register_forward_hook(lambda *_: calls.append(1))
    wrapped = parallel.wrap(task, checkpointing=True)
    for ours, theirs in zip(_gradients(wrapped, x), _gradients(plain, x)):
        assert torch.equal(ours, theirs)
    assert len(calls) == 2
    assert list(task.state_dict()) == list(plain.state_dict())


def test_compiling_goes_layer_by_layer_and_keeps_names(monkeypatch):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda module, **how: compiled.append(module))
    task = Stack()
    names = list(task.state_dict())
    parallel.wrap(task, compile=True)
    assert compiled == list(task.blocks)
    assert list(task.state_dict()) == names


@pytest.mark.parametrize("checkpointing", [False, True])
def test_every_block_of_a_deep_model_is_compiled_once(checkpointing, monkeypatch):
    """Traced and differentiated as by torch.compile, but run without generating code, which takes minutes."""
    counter, real = CompileCounterWithBackend("aot_eager"), nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda module, **how: real(module, backend=counter, **how))
    x, plain = torch.randn(3, 4), Stack(depth=10)
    task = copy.deepcopy(plain)
    parallel.wrap(task, checkpointing=checkpointing, compile=True)
    for _ in range(2):
        task.zero_grad()
        for ours, theirs in zip(_gradients(task, x), _gradients(plain, x)):
            torch.testing.assert_close(ours, theirs)
        plain.zero_grad()
    assert counter.frame_count == 10


def test_unwrapping_takes_everything_off():
    task = Stack()
    parallel.wrap(task, checkpointing=True)
    task.blocks[0]._compiled_call_impl = lambda x: x * 0
    parallel.unwrap(task)
    assert "forward" not in task.blocks[0].__dict__
    assert task.eval()(torch.ones(1, 4)).abs().sum() > 0


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(UserError, match=device):
        parallel.setup(device)
