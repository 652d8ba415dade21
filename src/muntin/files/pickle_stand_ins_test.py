"""Files are made with classes that pickle as the real ones do, under modules that are gone when the file is read."""

import argparse
import sys
import types
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

from muntin.errors import UserError
from muntin.files import read_tensors

WEIGHT = torch.arange(6.0).view(2, 3)


class CfgNode(dict):
    """As in yacs: a dict with a state of its own."""

    def __init__(self, content):
        super().__init__(content)
        self.__dict__ |= {"__immutable__": True, "__deprecated_keys__": set(), "__renamed_keys__": {}}


class ConfigDict(dict):
    """As in addict and mmcv: its state is itself."""

    def __getstate__(self):
        return self

    def __setstate__(self, state):
        self.update(state)


class Config:
    """As in mmcv: its state is a tuple."""

    def __getstate__(self):
        return ConfigDict(lr=0.1), "swin.py", "text of the file"

    def __setstate__(self, state):
        raise AssertionError("the real class must not be used")


@pytest.fixture
def foreign(monkeypatch):
    """Class -> the same class at home in another module."""

    def home(cls, module):
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            monkeypatch.setitem(sys.modules, ".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
        monkeypatch.setattr(cls, "__module__", module)
        setattr(sys.modules[module], cls.__name__, cls)
        return cls

    return home


def read_beside(tmp_path: Path, old: bool, **beside) -> dict[str, torch.Tensor]:
    path = tmp_path / "file.pth"
    torch.save({"model": {"weight": WEIGHT}, **beside}, path, _use_new_zipfile_serialization=not old)
    for name in ("yacs", "mmcv", "mmengine"):
        for module in [m for m in sys.modules if m.split(".")[0] == name]:
            del sys.modules[module]
    return read_tensors(path)


@pytest.mark.parametrize("old", [False, True])
def test_configurations_of_other_projects_are_passed_over(tmp_path, foreign, old):
    foreign(CfgNode, "yacs.config")
    foreign(ConfigDict, "mmcv.utils.config")
    foreign(Config, "mmengine.config.config")
    nested = CfgNode({"MODEL": CfgNode({"DEPTHS": [2, 2], "NAME": None})})
    state = read_beside(tmp_path, old, config=nested, meta=ConfigDict(a=ConfigDict(b=1)), cfg=Config())
    assert state.keys() == {"weight"}
    assert torch.equal(state["weight"], WEIGHT)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    "beside",
    [
        argparse.Namespace(lr=0.1, path=Path("data")),
        np.float64(81.2),
        np.arange(3),
        defaultdict(list, {"a": [1]}),
        OrderedDict(a=Counter({3: 1}), b={1, 2}, c=torch.float16, d=torch.Size([2]), e=b"bytes"),
        torch.nn.Parameter(WEIGHT),
    ],
    ids=lambda value: type(value).__name__,
)
def test_plain_objects_beside_the_weights_are_passed_over(tmp_path, beside, old):
    assert torch.equal(read_beside(tmp_path, old, beside=beside)["weight"], WEIGHT)


class Stranger:
    pass


def test_an_object_of_an_unknown_class_is_named(tmp_path):
    with pytest.raises(UserError, match=rf"objects of {__name__}\.Stranger, which are neither .* as \.safetensors"):
        read_beside(tmp_path, old=False, beside=Stranger())
