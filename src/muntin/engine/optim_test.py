import pytest
import torch
from torch import nn

from muntin.data import Batch
from muntin.engine import Schedule, Training, fit
from muntin.engine.optim import Optim, build_optimizer, parameter_groups
from muntin.errors import RunError, UserError
from muntin.tasks.task import Losses


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.table = nn.Parameter(torch.zeros(9, 2))
        self.cpb = nn.Sequential(nn.Linear(2, 4))

    def no_weight_decay(self):
        return {"table", "cpb.0.weight"}


class Stack(nn.Module):
    def __init__(self, depth=3):
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(depth))
        self.head = nn.Linear(4, 2)

    def layers(self):
        return [[block] for block in self.blocks]

    def parts(self):
        return {"backbone": self.blocks, "head": self.head}


def _by_name(groups):
    return {name: group for group in groups for name in group["names"]}


def test_vectors_biases_and_exempt_parameters_do_not_decay():
    task = Stack(depth=1)
    groups = parameter_groups(task, Optim(weight_decay=0.1))
    decaying = {name for group in groups if group["weight_decay"] == 0.1 for name in group["names"]}
    assert decaying == {"blocks.0.linear.weight", "head.weight"}
    assert all(group["weight_decay"] in (0.0, 0.1) for group in groups)


def test_layer_decay_follows_the_layers_and_leaves_the_head_at_the_full_rate():
    groups = _by_name(parameter_groups(Stack(depth=3), Optim(layer_decay=0.5)))
    assert [groups[f"blocks.{i}.linear.weight"]["lr_scale"] for i in range(3)] == [0.125, 0.25, 0.5]
    assert groups["blocks.1.norm.bias"]["depth"] == 1
    assert (groups["head.weight"]["depth"], groups["head.weight"]["lr_scale"]) == (3, 1.0)


def test_a_head_listed_as_the_last_layer_has_the_full_rate_too():
    task = Stack(depth=2)
    task.layers = lambda: [[task.blocks[0]], [task.blocks[1]], [task.head]]
    groups = _by_name(parameter_groups(task, Optim(layer_decay=0.5)))
    assert [groups[n]["lr_scale"] for n in ("blocks.0.table", "blocks.1.table", "head.weight")] == [0.25, 0.5, 1.0]


def test_factors_of_parts_multiply_those_of_layers():
    optim = Optim(layer_decay=0.5, lr_factors=(("backbone", 0.1), ("head", 3.0)))
    groups = _by_name(parameter_groups(Stack(depth=2), optim))
    scales = [groups[n]["lr_scale"] for n in ("blocks.0.linear.weight", "blocks.1.norm.bias", "head.weight")]
    assert scales == [0.25 * 0.1, 0.5 * 0.1, 3.0]


def test_a_part_without_a_factor_learns_at_the_full_rate_and_parameters_of_no_part_too():
    task = Stack(depth=1)
    task.parts = lambda: {"tables": task.blocks[0].cpb, "head": task.head}
    groups = _by_name(parameter_groups(task, Optim(lr_factors=(("tables", 0.5),))))
    scales = {name: group["lr_scale"] for name, group in groups.items()}
    assert {name for name, scale in scales.items() if scale == 0.5} == {"blocks.0.cpb.0.weight", "blocks.0.cpb.0.bias"}
    assert set(scales.values()) == {0.5, 1.0}


def test_without_layer_decay_a_factor_makes_two_groups_more_however_deep():
    groups = parameter_groups(Stack(depth=5), Optim(lr_factors=(("backbone", 0.1),)))
    assert [(group["lr_scale"], group["weight_decay"]) for group in groups] == [
        (0.1, 0.0),
        (1.0, 0.0),
        (0.1, 0.05),
        (1.0, 0.05),
    ]


@pytest.mark.parametrize("layer_decay", [1.0, 0.9])
def test_factors_of_1_change_neither_groups_nor_their_order(layer_decay):
    task = Stack()
    plain = parameter_groups(task, Optim(layer_decay=layer_decay))
    named = parameter_groups(task, Optim(layer_decay=layer_decay, lr_factors=(("backbone", 1.0), ("head", 1.0))))
    assert [{**group, "params": 0} for group in named] == [{**group, "params": 0} for group in plain]


def test_a_part_that_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(UserError, match="unknown part 'backbon': did you mean backbone"):
        parameter_groups(Stack(), Optim(lr_factors=(("backbon", 0.1),)))


def test_a_parameter_in_two_parts_is_an_error():
    task = Stack()
    task.parts = lambda: {"all": task, "head": task.head}
    with pytest.raises(ValueError, match=r"head\.weight is in parts\(\)\['all'\] and in parts\(\)\['head'\]"):
        parameter_groups(task, Optim(lr_factors=(("all", 0.1), ("head", 0.2))))


def test_a_stranger_in_the_parts_is_an_error():
    task = Stack()
    task.parts = lambda: {"teacher": nn.Linear(2, 2)}
    with pytest.raises(ValueError, match="not the task's"):
        parameter_groups(task, Optim(lr_factors=(("teacher", 0.1),)))


@pytest.mark.parametrize("layer_decay", [1.0, 0.9])
def test_every_trainable_parameter_is_in_exactly_one_group(layer_decay):
    task = Stack()
    task.blocks[0].requires_grad_(False)
    names = [name for group in parameter_groups(task, Optim(layer_decay=layer_decay)) for name in group["names"]]
    assert sorted(names) == sorted(n for n, p in task.named_parameters() if p.requires_grad)


def test_without_layer_decay_there_are_two_groups_however_deep():
    assert len(parameter_groups(Stack(depth=5), Optim())) == 2


def test_a_tied_parameter_takes_the_exemption_of_either_name():
    task = Stack(depth=1)
    task.head.weight = nn.Parameter(torch.zeros(9, 2))
    task.blocks[0].table = task.head.weight
    groups = _by_name(parameter_groups(task, Optim(weight_decay=0.1)))
    assert groups["blocks.0.table"]["weight_decay"] == 0


def test_a_parameter_in_two_layers_is_an_error():
    task = Stack(depth=2)
    task.layers = lambda: [[task.blocks[0]], [task.blocks]]
    with pytest.raises(ValueError, match=r"blocks\.0\..* is in layers\(\)\[0\] and in layers\(\)\[1\]"):
        parameter_groups(task, Optim())


def test_a_stranger_in_the_layers_is_an_error():
    task = Stack()
    task.layers = lambda: [[nn.Linear(2, 2)]]
    with pytest.raises(ValueError, match="not the task's"):
        parameter_groups(task, Optim())


def test_an_exemption_without_its_parameter_is_an_error():
    task = Stack(depth=1)
    del task.blocks[0].table
    with pytest.raises(ValueError, match=r"blocks\.0\.no_weight_decay\(\) names 'table'"):
        parameter_groups(task, Optim())


def test_a_frozen_task_is_refused():
    with pytest.raises(UserError, match="nothing to train"):
        parameter_groups(Stack().requires_grad_(False), Optim())


def test_the_rate_is_scaled_by_the_batch_and_by_the_layer():
    optimizer = build_optimizer(Stack(depth=1), Optim(lr=1e-3, lr_batch=512, layer_decay=0.5), batch_size=1024)
    assert sorted({group["lr"] for group in optimizer.param_groups}) == [1e-3, 2e-3]
    plain = build_optimizer(Stack(depth=1), Optim(lr=1e-3), batch_size=1024)
    assert {group["lr"] for group in plain.param_groups} == {1e-3}


def test_the_fused_kernel_is_used_on_cpu():
    assert build_optimizer(Stack(), Optim(), batch_size=1).defaults["fused"] is True


def test_sgd_sums_gradients_with_momentum_and_takes_decay_as_a_part_of_them():
    task = Stack(depth=1)
    weight, bias = task.head.weight, task.head.bias
    expected = [p.detach().clone() for p in (weight, bias)]
    optimizer = build_optimizer(task, Optim(kind="sgd", lr=0.1, momentum=0.8, weight_decay=0.5), batch_size=1)
    sums = [torch.zeros_like(p) for p in expected]
    for _ in range(3):
        weight.grad, bias.grad = torch.full_like(weight, 0.3), torch.full_like(bias, 0.2)
        optimizer.step()
        for number, (gradient, decay) in enumerate(((0.3, 0.5), (0.2, 0.0))):
            sums[number] = 0.8 * sums[number] + gradient + decay * expected[number]
            expected[number] = expected[number] - 0.1 * sums[number]
    torch.testing.assert_close([weight.detach(), bias.detach()], expected)


class Regression(Stack):
    def forward(self, batch):
        return self.losses(batch)

    def losses(self, batch):
        x = batch.inputs["image"]
        for block in self.blocks:
            x = block.norm(block.linear(x)) + block.table.mean() + block.cpb(x[:, :2])
        return Losses({"square": (self.head(x) - batch.target["label"]).square().mean()})

    def companions(self):
        return {}


class Rows:
    """Six batches an epoch; those of `broken_at`, (epoch, number), cannot be read."""

    def __init__(self, broken_at=None):
        self.broken_at = broken_at

    def __len__(self):
        return 6

    def epoch(self, epoch, start=0):
        for number in range(start, 6):
            if (epoch, number) == self.broken_at:
                raise RunError("broken")
            x = torch.randn(4, 4, generator=torch.Generator().manual_seed(10 * epoch + number))
            yield Batch({"image": x}, {"label": x[:, :2] * 2})


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "adamw"},
        {"kind": "adamw", "lr_factors": (("backbone", 0.5), ("head", 2.0))},
        {"kind": "sgd"},
        {"kind": "sgd", "momentum": 0.0},
        {"kind": "lamb"},
    ],
)
def test_every_kind_learns_and_goes_on_after_a_stop_as_if_there_had_been_none(tmp_path, values):
    def run(out, rows, **how):
        torch.manual_seed(0)
        return fit(
            Regression(depth=2),
            rows,
            optim=Optim(lr=0.03, layer_decay=0.9, **values),
            schedule=Schedule(epochs=10, warmup_epochs=1, warmup_lr=1e-3, min_lr=1e-3),
            training=Training(batch_size=4, precision="fp32", threads=1, save_steps=2),
            out=out,
            **how,
        )

    whole = run(tmp_path / "whole", Rows())
    with pytest.raises(RunError, match="broken"):
        run(tmp_path / "broken", Rows(broken_at=(6, 3)))
    resumed = run(tmp_path / "broken", Rows(), resume=True)
    for name, tensor in whole.task.state_dict().items():
        assert torch.equal(resumed.task.state_dict()[name], tensor), name
    losses = [line["loss"] for line in whole.history if line["split"] == "train"]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "adam"}, "kind is adam; it must be adamw, sgd or lamb"),
        ({"momentum": 1.0}, "momentum is 1.0; it must be at least 0 and below 1"),
        ({"layer_decay": 0.0}, "layer_decay is 0.0; it must be above 0 and at most 1"),
        ({"layer_decay": 1.5}, "layer_decay is 1.5"),
        ({"lr": -1.0}, "lr is -1.0; it must be a finite number of at least 0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"weight_decay": float("inf")}, "weight_decay is inf"),
        ({"clip_grad": -1.0}, "clip_grad is -1.0"),
        ({"lr_batch": -1}, "lr_batch is -1"),
        ({"betas": (2.0, 3.0)}, r"betas is \(2.0, 3.0\); it must be two numbers, each at least 0 and below 1"),
        ({"betas": (0.9, float("nan"))}, "betas is"),
        (
            {"lr_factors": (("head", 0.0),)},
            "lr_factors is .* names of parts, each once and with a finite factor above 0",
        ),
        ({"lr_factors": (("head", 1.0), ("head", 2.0))}, "lr_factors is"),
        ({"lr_factors": (("head", float("inf")),)}, "lr_factors is"),
        ({"eps": -1.0}, "eps is -1.0; it must be a finite number above 0"),
    ],
)
def test_impossible_values_are_refused_with_field_value_and_range(values, message):
    with pytest.raises(UserError, match=message):
        Optim(**values)
