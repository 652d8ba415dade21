import dataclasses

import pytest
import torch
from torch import nn

from muntin.errors import UserError
from muntin.models.convnext import VARIANTS as CONVNEXT
from muntin.models.convnext import ConvNeXt
from muntin.models.convnext_roadmap import VARIANTS, ChannelNorm, ResidualBlock, Roadmap, RoadmapConfig

TINY = RoadmapConfig(width=8, depths=(1, 2))
PREDECESSORS = {"08b": "07", "08c": "07", "08d": "07", "09": "08b", "13": "12", "13_no_norms": "12"}
GFLOPS = {  # "measured", which the paper's tables print rounded
    "convnext_roadmap": "4.089 4.089 4.526 4.418 2.350 5.268 4.644 4.065 "
    "4.097 4.146 4.210 4.291 4.146 4.146 4.146 4.146 4.456 4.456",
    "convnext_roadmap_b": "15.01 15.01 14.52 14.38 7.23 16.76 15.68 14.63 "
    "14.70 14.81 14.95 15.13 14.81 14.81 14.81 14.81 15.35 15.35",
}
MILLIONS = {"00": 25.50, "02": 28.57, "03": 28.56, "04": 15.66, "05": 33.67, "06": 25.73, "07": 25.54, "08b": 25.78}


def step(name: str, walk: str = "convnext_roadmap") -> RoadmapConfig:
    return VARIANTS[f"{walk}_{name}"]


def small(name: str) -> RoadmapConfig:
    return dataclasses.replace(step(name), width=8, depths=(1, 2))


STEPS = [name.removeprefix("convnext_roadmap_") for name in VARIANTS if "_b_" not in name]


@pytest.mark.parametrize("walk", GFLOPS)
def test_multiply_adds_are_those_of_the_papers_tables(walk):
    from torch.utils.flop_counter import FlopCounterMode

    measured = dict(zip(STEPS, map(float, GFLOPS[walk].split()), strict=True))
    costs = {}  # of equal structures once
    for name in STEPS:
        config = step(name, walk)
        key = dataclasses.replace(config, activation="gelu", activations="one", norms="one", norm="batch")
        if key not in costs:
            with torch.device("meta"), torch.no_grad():
                model = Roadmap(config).eval()
                head = nn.Linear(model.channels[-1], 1000)
                with FlopCounterMode(display=False) as counter:
                    head(model(torch.empty(1, 3, 224, 224)).levels[-1].mean((2, 3)))
            costs[key] = counter.get_total_flops() / 2e9
        assert costs[key] == pytest.approx(measured[name], rel=0.005), name


@pytest.mark.parametrize("name", MILLIONS)
def test_parameters_of_convolutions_and_classifier_are_those_counted(name):
    with torch.device("meta"):
        model = Roadmap(step(name))
    convs = sum(p.numel() for m in model.modules() if isinstance(m, nn.Conv2d) for p in m.parameters())
    assert (convs + 1001 * model.channels[-1]) / 1e6 == pytest.approx(MILLIONS[name], abs=0.006)


@pytest.mark.parametrize("name", [name for name in STEPS if name != "00"])
def test_every_step_changes_one_thing(name):
    before = PREDECESSORS.get(name, f"{int(name[:2]) - 1:02d}")
    one, other = dataclasses.asdict(step(before)), dataclasses.asdict(step(name))
    changed = {field for field in one if one[field] != other[field]}
    # ConvNeXt's layer scale is no step of the paper, and comes with the last
    assert len(changed - {"layer_scale"}) == (0 if name == "01" else 1)


def test_the_last_step_is_convnext():
    torch.manual_seed(0)
    config = dataclasses.replace(step("13"), width=8, depths=(1, 2), layer_scale=0.5)
    ours = Roadmap(config).eval()
    same = dataclasses.replace(CONVNEXT["convnext_tiny"], dims=(8, 16), depths=(1, 2), layer_scale=0.5)
    theirs = ConvNeXt(same).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    state = theirs.state_dict()
    parts = {"conv1": "dwconv", "norm1": "norm", "conv2": "mlp.fc1", "conv3": "mlp.fc2"}
    parts |= {"stem.0": "patch_embed.proj", "stem.1": "patch_embed.norm"}
    parts |= {"downsamples.0.0": "downsamples.0.norm", "downsamples.0.1": "downsamples.0.proj"}
    carried = {}
    for key, value in ours.state_dict().items():
        name = key
        for mine, yours in parts.items():
            name = name.replace(mine, yours)
        carried[key] = state.pop(name).view_as(value)
    assert not state
    ours.load_state_dict(carried)
    x = torch.randn(2, 3, 41, 38)
    for one, other in zip(ours(x).levels, theirs(x).levels, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    full, published = step("13"), CONVNEXT["convnext_tiny"]
    assert (full.depths, full.layer_scale) == (published.depths, published.layer_scale)
    assert [full.width * 2**i for i in range(4)] == list(published.dims)
    with torch.device("meta"):
        counts = [sum(p.numel() for p in m.parameters()) for m in (Roadmap(full), ConvNeXt(published))]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("name", STEPS)
def test_every_step_learns_from_any_size(name):
    torch.manual_seed(0)
    model = Roadmap(small(name))
    levels = model(torch.randn(2, 3, 37, 50)).levels
    assert [level.shape[1] for level in levels] == list(model.channels)
    sum(level.square().mean() for level in levels).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    layers = [p for modules in model.layers() for module in modules for p in module.parameters()]
    assert len(layers) == len(set(layers)) == len(list(model.parameters()))


def test_norms_and_activations_go_one_after_the_other():
    def count(name: str, kind: type) -> int:
        block = Roadmap(small(name)).stages[0][0]
        assert isinstance(block, ResidualBlock)
        return sum(isinstance(module, kind) for key, module in block.named_modules() if "shortcut" not in key)

    assert [count(name, nn.ReLU) for name in ("08b", "09")] == [3, 0]
    assert [count(name, nn.GELU) for name in ("09", "10")] == [3, 1]
    assert [count(name, nn.BatchNorm2d) for name in ("10", "11", "12")] == [3, 1, 0]
    assert [count(name, ChannelNorm) for name in ("11", "12")] == [0, 1]


def test_the_step_for_teaching_goes_without_the_added_norms():
    norms = {name: [k for k, _ in Roadmap(small(name)).named_parameters() if "downsamples.0.0" in k] for name in STEPS}
    assert norms["13"]
    assert not norms["13_no_norms"]
    assert len(Roadmap(small("13_no_norms")).downsamples) == len(Roadmap(small("13")).downsamples) == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"stem": "conv"}, "unknown stem 'conv'"),
        ({"norm": ["batch"]}, "unknown norm"),
        ({"width": 1 << 15}, "more than 65,536"),
        ({"depths": (1,) * 9}, "one entry a stage, 1 to 8"),
        ({"depths": (1, 1 << 20)}, "1,000 in all"),
        ({"kernel": 4}, "an odd number"),
        ({"kernel": 101}, "from 1 to 99"),
        ({"depthwise": 1}, "True or False"),
        ({"downsampling": "separate"}, "needs an inverted block"),
        ({"layer_scale": -1.0}, "a number from 0"),
    ],
)
def test_configs_that_no_network_can_have_are_refused(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        Roadmap(dataclasses.replace(TINY, **changes))


def test_a_picture_too_small_is_refused():
    with pytest.raises(UserError, match="enlarge it to at least 8x8"):
        Roadmap(small("13"))(torch.zeros(1, 3, 7, 40))
