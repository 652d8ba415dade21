"""What several tests of the loop share: a task of two blocks, 24 rows of data, and `fit` on them in a moment."""

import torch
from torch import nn

from muntin.data import Batch
from muntin.engine import Optim, Schedule, Training, fit
from muntin.tasks.task import Best, Losses

SPEED = ("samples_per_second", "data_wait", "memory_gib")


class Toy(nn.Module):
    """Blocks with dropout, a batch norm (an integer buffer) and a head, to one of three classes."""

    best = Best("top1", higher=True)

    def __init__(self, dropout=0.0, norm=False):
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), nn.GELU(), nn.Dropout(dropout)) for _ in range(2))
        self.norm = nn.BatchNorm1d(6) if norm else nn.Identity()
        self.head = nn.Linear(6, 3)

    def forward(self, batch):
        return self.losses(batch)

    def losses(self, batch):
        logits = self.logits(batch.inputs["image"])
        loss = nn.functional.cross_entropy(logits, batch.target["label"])
        return Losses({"cross_entropy": loss}, {"confidence": logits.detach().softmax(1).amax(1).mean()})

    def logits(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))

    def layers(self):
        return [[block] for block in self.blocks]

    def companions(self):
        return {}


class Broken(Toy):
    """Gives a NaN in its second block, or only in the loss, or only in a gradient, when rows of `when` come."""

    def __init__(self, where, when=13):
        super().__init__()
        self.where, self.when = where, when
        self.blocks[1].register_forward_hook(self._spoil)

    def _spoil(self, module, inputs, output):
        return output * float("nan") if self.where == "layer" and self.hit else output

    def losses(self, batch):
        self.hit = f"row{self.when}.png" in batch.names
        terms, shown = super().losses(batch)
        if self.hit and self.where == "loss":
            terms = {"cross_entropy": terms["cross_entropy"] * float("inf")}
        if self.where == "gradient":  # the root of 0 is 0, its slope is not finite
            terms["root"] = ((self.blocks[0][0].weight * 0).sum() + (0 if self.hit else 1)).sqrt()
        return Losses(terms, shown)


class Toys:
    """24 rows in an order drawn for each epoch; the processes share what one would take as a batch."""

    def __init__(self, batch_size=4, rank=0, world=1, count=24):
        self.batch_size, self.rank, self.world = batch_size, rank, world
        self.rows = torch.randn(count, 6, generator=torch.Generator().manual_seed(1))
        self.labels = (self.rows.sum(1) > 0).long() + (self.rows[:, 0] > 1).long()
        self.before_batch = lambda epoch, number: None

    def __len__(self):
        return len(self.rows) // (self.batch_size * self.world)

    def epoch(self, epoch, start=0):
        order = torch.randperm(len(self.rows), generator=torch.Generator().manual_seed(epoch))
        for number in range(start, len(self)):
            self.before_batch(epoch, number)
            first = (number * self.world + self.rank) * self.batch_size
            chosen = order[first : first + self.batch_size]
            names = [f"row{i}.png" for i in chosen]
            yield Batch({"image": self.rows[chosen]}, {"label": self.labels[chosen]}, names)


def top1(task):
    rows = Toys()
    right = task.logits(rows.rows).float().argmax(1) == rows.labels
    return {"top1": right.float().mean().item()}


def fit_toy(out, task=None, train=None, best=Toy.best, **changes):
    task = task or Toy()
    task.best = best
    training = {"batch_size": 4, "precision": "fp32", "threads": 1} | changes.pop("training", {})
    schedule = {"epochs": 3, "warmup_epochs": 1, "warmup_lr": 1e-4, "min_lr": 1e-4} | changes.pop("schedule", {})
    optim = {"lr": 1e-2} | changes.pop("optim", {})
    return fit(
        task,
        Toys(training["batch_size"] // training.get("accumulate", 1)) if train is None else train,
        optim=Optim(**optim),
        schedule=Schedule(**schedule),
        training=Training(**training),
        out=out,
        **changes,
    )


def without_speed(lines):
    return [{k: v for k, v in line.items() if k not in SPEED} for line in lines]


def assert_equal_states(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


def test_the_processes_share_what_one_takes_as_a_batch():
    one = next(Toys(batch_size=4).epoch(0)).names
    two = [next(Toys(batch_size=2, rank=rank, world=2).epoch(0)).names for rank in range(2)]
    assert two[0] + two[1] == one
