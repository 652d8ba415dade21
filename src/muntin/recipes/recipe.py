"""A recipe: everything that decides what a training run does, as one tree of typed values.

The parts belong to the rooms that read them: a task's choice to `tasks`, `inputs` and `augment` to `data`, `optim`,
`schedule` and `training` to `engine`, the fields of a model's config to its family in `catalog`. What is added here
says which model and data. The text under a field is what `--help` shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_type_hints

from muntin import catalog
from muntin.data import Augment, Inputs
from muntin.engine import Optim, Schedule, Training
from muntin.errors import UserError, refuse, unknown
from muntin.models.fields import Shape, check_field
from muntin.tasks import TaskChoice

from .typed import as_tuples, typed


@dataclass(frozen=True, kw_only=True)
class About:
    """What a reader wants to know of a recipe before starting it."""

    paper: str = ""
    """Title, year and arXiv number of the paper the values come from; empty for recipes of this project."""
    command: str = ""
    """The command that runs it."""
    hardware: str = ""
    """What it was trained on, or is meant for."""
    expected: str = ""
    """The metric to expect, with its source."""
    starts_from: str = ""
    """The trained weights that this number depends on; empty for recipes that start from random ones."""
    notes: str = ""
    """Where the recipe differs from its source, and other things worth knowing."""


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Which model, from which weights, and how it differs from the published variant."""

    name: str = ""
    """Name of the model, see `muntin models`; empty: the model that `weights` were saved with, its config too."""
    weights: str = ""
    """Weights to start from: a run folder, a model folder or a file; empty for none."""
    from_scratch: bool = True
    """Whether random weights will do when `weights` is empty; recipes that fine-tune say no and refuse to start."""
    class_map: str = ""
    """File with the rows of the weights' head that the classes take, one a line. Empty: other classes, new head."""
    drop_path_rate: float = 0.0
    """Stochastic depth: the rate of the last block, in [0, 1); grows linearly from 0 at the first."""
    dropout: float = 0.0
    """Dropout of a ViT's embeddings and residual branches, in [0, 1)."""
    head_scale: float = 1.0
    """What the weights of a fresh head are multiplied by; 0 starts it at zero, with equal odds for all classes."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The fields of the model's config that differ from the published variant, typed by the model's family."""

    def __post_init__(self) -> None:
        """Raises UserError with every value that is out of range, and for a config that the named model cannot have."""
        wrong = []
        for name in ("drop_path_rate", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                wrong.append(f"{name} is {getattr(self, name)}; it must be at least 0 and below 1")
        if not 0 <= self.head_scale < math.inf:
            wrong.append(f"head_scale is {self.head_scale}; it must be at least 0")
        refuse("model", wrong)
        if self.name and self.config:
            object.__setattr__(self, "config", _typed_config(self.name, self.config))

    def with_config(self, **fields: Any) -> ModelChoice:
        """The same choice with these fields of the model's config; None takes a field back to the published value."""
        config = {name: value for name, value in {**self.config, **fields}.items() if value is not None}
        return replace(self, config=config)


@dataclass(frozen=True, kw_only=True)
class DataChoice:
    """Which pictures, and which of them."""

    path: str
    """Folder with class folders (or train/ and val/ of them), .csv of path,label, tar shards, or `digits`."""
    val_share: float = 0.1
    """Share of the pictures held out where the data has no val part of its own, in [0, 1)."""
    split_seed: int = 0
    """Seed of that split, and of the choice of `labels_per_class`; apart from the training seed."""
    labels_per_class: int = 0
    """Train on this many pictures of each class; 0 for all."""
    limit: int = 0
    """Use only so many pictures to train on, and so many held-out ones, spread evenly; for trials. 0: all."""
    bad_share: float = 0.05
    """Stop when more than this share of the pictures, in [0, 1), cannot be read; until then they are listed and others
    take their places. 0: stop at the first."""
    val_batch_size: int = 100
    """Pictures per process in one evaluation step; changes memory and speed, never the result."""

    def __post_init__(self) -> None:
        """Raises UserError with every value that is out of range."""
        least = {"split_seed": 0, "labels_per_class": 0, "limit": 0, "val_batch_size": 1}
        wrong = [
            f"{name} is {getattr(self, name)}; it must be at least {lowest}"
            for name, lowest in least.items()
            if getattr(self, name) < lowest
        ]
        if not 0 <= self.val_share < 1:
            wrong.append(f"val_share is {self.val_share}; it must be at least 0 and below 1")
        if not 0 <= self.bad_share < 1:
            wrong.append(f"bad_share is {self.bad_share}; it must be at least 0 and below 1")
        refuse("data", wrong)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what a training run does."""

    name: str
    """Name of the recipe."""
    task: TaskChoice
    """What is learnt, and how."""
    model: ModelChoice
    """Which model, from which weights."""
    data: DataChoice
    """Which pictures."""
    inputs: Inputs
    """From a picture to the model's input, at training and ever after."""
    augment: Augment
    """How pictures are changed while training."""
    optim: Optim
    """The optimizer and its learning rate."""
    schedule: Schedule
    """How the learning rate moves."""
    training: Training
    """How the loop runs: batch size, precision, checkpoints."""
    about: About = field(default_factory=About)
    """Paper, command, hardware, expected metric."""

    def __post_init__(self) -> None:
        """Raises UserError for parts that do not go together."""
        self.task.check(self.augment)


def from_pictures(family: catalog.Family) -> set[str]:
    """The fields of a config that follow from the pictures, and that nobody chooses."""
    return {"in_chans", family.grid}


def _typed_config(model: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with every value as the model's family types it. Raises UserError for what it does not have or allow."""
    entry = catalog.entry(model)
    follow = from_pictures(entry.family)
    kinds = get_type_hints(entry.family.config, include_extras=True)
    known = [f"model.config.{name}" for name in kinds if name not in follow]
    values = {}
    for name, value in config.items():
        full = f"model.config.{name}"
        if name in follow:
            raise UserError(f"{full} follows from the pictures; leave it out")
        if full not in known:
            raise unknown(f"field of {entry.name}", full, known)
        check_field(full, as_tuples(value), kinds[name], Shape())
        values[name] = typed(kinds[name], value, full, entry.name)
    return values
