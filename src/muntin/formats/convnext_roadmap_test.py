import dataclasses

import pytest
import torch
from torch import nn

from muntin.errors import UserError
from muntin.formats.convnext_roadmap import FILES, read, sizes, write
from muntin.heads import MeanNormReadout, MeanReadout
from muntin.models.convnext_roadmap import VARIANTS, Roadmap


def ours(name: str) -> dict[str, torch.Tensor]:
    config = dataclasses.replace(VARIANTS[name], width=4, depths=(2, 1))
    torch.manual_seed(0)
    readout = MeanNormReadout if config.downsampling == "separate_normed" else MeanReadout
    backbone = Roadmap(config)
    return nn.ModuleDict({"backbone": backbone, "readout": readout(backbone.channels[-1], 3)}).state_dict()


@pytest.mark.parametrize("name", [name for name in VARIANTS if "_b_" not in name])
def test_every_step_is_known_and_told_by_its_shapes(name):
    state = ours(name)
    assert read(state).layout == "muntin"
    assert read(state).tensors.keys() == state.keys()
    found = sizes(state)
    assert (found.family, found.kind, found.num_classes) == ("convnext_roadmap", "classifier", 3)
    config = VARIANTS[name]
    expected = {field: getattr(config, field) for field in found.fields} | {"width": 4, "depths": (2, 1)}
    assert found.fields == expected


def test_step_0_has_torchvisions_names():
    state = ours("convnext_roadmap_00")
    foreign = write(state, "torchvision")
    assert {"conv1.weight", "bn1.running_mean", "layer2.0.downsample.1.num_batches_tracked", "fc.bias"} < foreign.keys()
    assert FILES.recognise(foreign) == "torchvision"
    found = read(foreign).tensors
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)
    assert (FILES.layouts, FILES.writable) == (("muntin", "torchvision"), ("torchvision",))


def test_later_steps_have_no_name_elsewhere():
    with pytest.raises(UserError, match="no name in the torchvision layout"):
        write(ours("convnext_roadmap_13"), "torchvision")


def test_a_step_whose_tensors_have_the_same_names_is_refused_too():
    with pytest.raises(UserError, match="no name in the torchvision layout"):
        write(ours("convnext_roadmap_04"), "torchvision")
