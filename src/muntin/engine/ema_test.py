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


class Tracked(nn.Module):
    """Weights, the statistics of a batch norm, and buffers of every other kind."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("index", torch.arange(4))
        self.register_buffer("seen", torch.zeros(2, dtype=torch.bool))
        self.register_buffer("exact", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("nothing", torch.zeros(0))

    def forward(self, x):
        self.index += 1
        self.seen[:] = True
        self.exact += 1
        return self.norm(x).square().sum()


def test_the_whole_state_dict_follows_a_net_with_batch_norm_in_training():
    task, decay = Tracked(), 0.9
    ema, optimizer = Ema(task, decay), torch.optim.SGD(task.parameters(), lr=0.1)
    expected = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    for seed in range(4):
        task(torch.randn(8, 3, generator=torch.Generator().manual_seed(seed)) + 5).backward()
        optimizer.step()
        ema.update()
        for name, tensor in task.state_dict().items():
            floating = tensor.is_floating_point()
            expected[name] = decay * expected[name] + (1 - decay) * tensor if floating else tensor.clone()
    assert ema.module.norm.num_batches_tracked == 4
    assert ema.module.seen.all()
    for name, tensor in ema.module.state_dict().items():
        torch.testing.assert_close(tensor, expected[name])
