import torch
from torch import nn

from muntin.engine.ema import Ema


def test_weights_and_float_buffers_are_averaged_and_counters_copied():
    task = nn.BatchNorm1d(2)
    ema = Ema(task, decay=0.75)
    nn.init.constant_(task.weight, 5.0)
    task.running_mean.fill_(8.0)
    task.num_batches_tracked.fill_(7)
    ema.update()
    torch.testing.assert_close(ema.module.weight, torch.full((2,), 0.75 * 1 + 0.25 * 5), check_dtype=False)
    torch.testing.assert_close(ema.module.running_mean, torch.full((2,), 2.0))
    assert ema.module.num_batches_tracked == 7


def test_tied_weights_are_averaged_once():
    task = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    task[1].weight = task[0].weight
    nn.init.zeros_(task[0].weight)
    ema = Ema(task, decay=0.5)
    nn.init.ones_(task[0].weight)
    ema.update()
    assert ema.module[0].weight is ema.module[1].weight
    assert torch.equal(ema.module[0].weight, torch.full((2, 2), 0.5))


def test_the_average_is_an_eval_module_of_its_own():
    task = nn.Dropout(0.5).train()
    ema = Ema(nn.Sequential(nn.Linear(2, 2), task), decay=0.9)
    assert not ema.module.training
    assert task.training
    assert not any(p.requires_grad for p in ema.module.parameters())
