"""What the catalog knows of a family of models, and of one name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

from torch import nn

from muntin.heads import Readout


class Family(NamedTuple):
    """What the models of one paper have in common."""

    backbone: type[nn.Module]  # (config, drop_path_rate)
    config: type  # a frozen dataclass: what the paper's tables vary
    readout: Callable[[Any], Callable[[int, int], Readout]]  # config -> what makes the readout of a classifier
    files: ModuleType  # its foreign checkpoints, a module of `muntin.formats`
    small: Mapping[str, Any]  # fields of a model that learns 32 x 32 pictures within seconds
    dense: Mapping[str, Any] = {}  # fields in which the official dense backbones differ from the classifiers


class Entry(NamedTuple):
    """One name. Numbers are published ones; None where there is none."""

    name: str
    family: Family
    config: Any  # of the family's type
    image_size: tuple[int, int]  # pixels of its published training
    top1: float | None = None  # ImageNet-1K accuracy in %
    trained_on: str = ""  # what that number was trained on
    source: str = ""  # where the number stands
    note: str = ""  # what sets it apart from the name before
    digits: float | None = None  # top-1 in % on the built-in digits, measured by a benchmark of this project
