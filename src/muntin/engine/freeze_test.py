import copy

import pytest
import torch
from torch import nn

from muntin.engine import Optim, build_optimizer, freeze, parameter_groups


class Stack(nn.Module):
    """Three layers of linear and dropout, and a head."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)) for _ in range(3))
        self.head = nn.Linear(4, 2)

    def layers(self):
        return [[block] for block in self.blocks]


TRAINED = {"blocks.2.0.weight", "blocks.2.0.bias", "head.weight", "head.bias"}  # with two layers frozen


def in_training(module: nn.Module) -> list[bool]:
    return [module.blocks[i][1].training for i in range(3)]


def test_frozen_layers_stay_in_eval_mode_whatever_is_called_later():
    task = Stack()
    assert freeze(task, task.layers()[:2]) is task
    assert in_training(task) == [False, False, True]
    assert task.train() is task
    assert in_training(task) == [False, False, True]
    assert not task.eval().head.training
    assert in_training(nn.ModuleDict({"task": task}).train()["task"]) == [False, False, True]


def test_a_copy_of_a_frozen_module_is_frozen_by_itself():
    task = Stack()
    freeze(task, task.layers()[:1])
    other = copy.deepcopy(task)
    other.blocks[0][1].training = True
    assert in_training(other.train()) == [True, True, True]
    assert in_training(task.train()) == [False, True, True]


def test_the_optimizer_leaves_frozen_parameters_out_and_training_does_not_move_them():
    torch.manual_seed(0)
    task = Stack()
    freeze(task, task.layers()[:2])
    groups = parameter_groups(task, Optim(layer_decay=0.5))
    assert {n for g in groups for n in g["names"]} == {
        "blocks.2.0.weight",
        "blocks.2.0.bias",
        "head.weight",
        "head.bias",
    }
    assert {g["lr_scale"] for g in groups} == {1.0, 0.5}  # the depth of a layer does not change
    before = copy.deepcopy(task.state_dict())
    optimizer = build_optimizer(task, Optim(lr=0.1), batch_size=1)
    for block in task.train().blocks:
        x = block(torch.ones(3, 4))
    task.head(x).sum().backward()
    optimizer.step()
    moved = {key for key, value in task.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == TRAINED


def test_a_module_of_another_model_is_refused():
    with pytest.raises(ValueError, match="a Linear to be frozen is no part of the Stack"):
        freeze(Stack(), [[nn.Linear(1, 1)]])
