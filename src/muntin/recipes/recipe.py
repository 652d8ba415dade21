"""A recipe: everything that decides what a training run does, as one tree of typed values.

Three of the groups (`optim`, `schedule`, `training`) belong to the engine and two (`preprocess`, `augment`) to the data
room; what is added here says which task, model, data and masks. The text under a field is what `--help` shows.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from muntin.data import Augment, PictureInput
from muntin.engine import Optim, Schedule, Training
from muntin.errors import UserError, unknown

# fields that models have too
OVERRIDES = ("patch", "dim", "dims", "depth", "depths", "heads", "window", "pretrained_window")


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
    """Which model, from which weights, and how it differs from the published variant (None: as published)."""

    name: str = ""
    """Name of the model, see `muntin models`; empty: the model that `weights` were saved with, its overrides too."""
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
    patch: tuple[int, int] | None = None
    """Patch height and width in pixels."""
    dim: int | None = None
    """Channels; of a Swin those of the first stage, which double per stage."""
    dims: tuple[int, ...] | None = None
    """Channels of each stage."""
    depth: int | None = None
    """Blocks."""
    depths: tuple[int, ...] | None = None
    """Blocks of each stage."""
    heads: int | tuple[int, ...] | None = None
    """Attention heads; of each stage, where there are stages."""
    window: tuple[int, int] | tuple[tuple[int, int], ...] | None = None
    """Attention window, height and width in cells; or one a stage."""
    pretrained_window: tuple[tuple[int, int], ...] | None = None
    """Swin V2: each stage's window in pre-training, which scales the log-CPB when `window` is another."""
    fields: str = ""
    """Other fields of the model's config, as a JSON object such as {"gelu": "erf"}."""

    def __post_init__(self) -> None:
        """Raises UserError with every value that is out of range."""
        chosen = {name: getattr(self, name) for name in OVERRIDES}.items()
        wrong = [
            f"{name} is {value}; it must be positive numbers"
            for name, value in chosen
            if value is not None and not _all_positive(value)
        ]
        if self.fields and (twice := sorted(_fields(self.fields).keys() & {*OVERRIDES, "in_chans", "grid"})):
            wrong.append(f"fields names {twice[0]}, which has an option of its own or follows from the pictures")
        for name in ("drop_path_rate", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                wrong.append(f"{name} is {getattr(self, name)}; it must be at least 0 and below 1")
        if not 0 <= self.head_scale < math.inf:
            wrong.append(f"head_scale is {self.head_scale}; it must be at least 0")
        stages = {name: getattr(self, name) for name in ("dims", "depths", "heads")}
        stages = {name: value for name, value in stages.items() if isinstance(value, tuple)}
        if len(set(map(len, stages.values()))) > 1:
            wrong.append(f"{' and '.join(f'{k} {v}' for k, v in stages.items())} need one number a stage each")
        _refuse("model", wrong)

    def config(self) -> dict[str, Any]:
        """The fields that are set, under the names of the model's config."""
        chosen = {name: getattr(self, name) for name in OVERRIDES}
        return {name: value for name, value in chosen.items() if value is not None} | _fields(self.fields)


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
        _refuse("data", wrong)


@dataclass(frozen=True, kw_only=True)
class Masking:
    """What SimMIM hides and asks for; other tasks do not read it."""

    mask_patch: int = 32
    """Side of a masked square in pixels; the picture's side and the model's patch divide it evenly."""
    mask_ratio: float = 0.6
    """Share of the squares that are masked, in (0, 1)."""
    target_window: int = 0
    """Odd side of the sliding window that normalises the target (SimMIM for Swin V2: 47); 0 for raw pixels."""

    def __post_init__(self) -> None:
        """Raises UserError with every value that is out of range."""
        wrong = []
        if self.mask_patch < 1:
            wrong.append(f"mask_patch is {self.mask_patch}; it must be at least 1")
        if not 0 < self.mask_ratio < 1:
            wrong.append(f"mask_ratio is {self.mask_ratio}; it must be above 0 and below 1")
        if self.target_window and (self.target_window < 3 or self.target_window % 2 == 0):
            wrong.append(f"target_window is {self.target_window}; it must be 0 or odd, from 3")
        _refuse("masking", wrong)


@dataclass(frozen=True, kw_only=True)
class DistillationChoice:
    """Who teaches, and how; only the task `distillation` reads it."""

    teacher: str = ""
    """Name of the teacher's model, see `muntin models`; empty: the model that `teacher_weights` were saved with."""
    teacher_weights: str = ""
    """The teacher's trained weights: a run folder, a model folder or a file."""
    untrained_teacher: bool = False
    """Whether a teacher with random weights will do when `teacher_weights` is empty: for trials, it teaches nothing."""
    kind: Literal["hard", "soft"] = "hard"
    """hard: the teacher's first choice is a second label. soft: the student follows the teacher's probabilities."""
    token: bool = True
    """Whether a distillation head of its own, which the model must have, learns from the teacher; else its one head."""
    alpha: float = 0.5
    """Weight of the teacher, in [0, 1]; the labels have the rest."""
    temperature: float = 1.0
    """Soft: what both logits are divided by before they become probabilities; DeiT's paper: 3."""
    normalisation: Literal["official", "textbook"] = "official"
    """Soft: mean over pictures (textbook), or over pictures and classes (DeiT's code; far weaker at the same alpha)."""

    def __post_init__(self) -> None:
        """Raises UserError with every value that is out of range."""
        wrong = []
        if not 0 <= self.alpha <= 1:
            wrong.append(f"alpha is {self.alpha}; it must be at least 0 and at most 1")
        if not 0 < self.temperature < math.inf:
            wrong.append(f"temperature is {self.temperature}; it must be above 0")
        _refuse("distillation", wrong)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what a training run does."""

    name: str
    """Name of the recipe."""
    task: Literal["classification", "distillation", "simmim"]
    """What is learnt: classes, classes from a teacher too, or masked pixels."""
    model: ModelChoice
    """Which model, from which weights."""
    data: DataChoice
    """Which pictures."""
    preprocess: PictureInput
    """From a picture to the model's input, at training and ever after."""
    augment: Augment
    """How pictures are changed while training."""
    optim: Optim
    """The optimizer and its learning rate."""
    schedule: Schedule
    """How the learning rate moves."""
    training: Training
    """How the loop runs: batch size, precision, checkpoints."""
    loss: Literal["cross_entropy", "binary_cross_entropy"] = "cross_entropy"
    """Against the labels: softmax cross-entropy, or a yes or no for each class, where any share above 0 is a yes."""
    masking: Masking = field(default_factory=Masking)
    """Masks and target of SimMIM."""
    distillation: DistillationChoice = field(default_factory=DistillationChoice)
    """Teacher and loss of distillation."""
    about: About = field(default_factory=About)
    """Paper, command, hardware, expected metric."""

    def __post_init__(self) -> None:
        """Raises UserError for groups that do not go together."""
        if self.loss == "binary_cross_entropy" and self.augment.smoothing:
            raise UserError(
                f"binary_cross_entropy takes every class with a share above 0 for true, and smoothing "
                f"{self.augment.smoothing:g} gives each class one: set --smoothing 0, or --loss cross_entropy"
            )


def _refuse(group: str, wrong: list[str]) -> None:
    if wrong:
        raise UserError(f"{group}: {'; '.join(wrong)}")


def _fields(text: str) -> dict[str, Any]:
    """The object that a JSON text holds, its lists as tuples; nothing for no text."""
    try:
        values = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise UserError(f'model: fields is no JSON ({error}); write an object such as {{"gelu": "erf"}}') from None
    if not isinstance(values, dict):
        raise UserError(f'model: fields is {text}; write an object such as {{"gelu": "erf"}}')
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _all_positive(value: Any) -> bool:
    """Whether a number, or every number in nested tuples of at least one, is above 0."""
    return bool(value) and all(map(_all_positive, value)) if isinstance(value, tuple) else value > 0


def to_json(recipe: Recipe) -> str:
    """Every value of the recipe as JSON; `from_json` reads it back to an equal Recipe."""
    return json.dumps(dataclasses.asdict(recipe), indent=2) + "\n"


def from_json(text: str, place: str = "recipe.json") -> Recipe:
    """The recipe written by `to_json`. Fields that are left out keep their defaults.

    `place` is where the text comes from, for the messages. Raises UserError for text that is not JSON, for an unknown
    or missing field (with the nearest name) and for a value of the wrong type (with the field's full name).
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers of 5,000 digits, and lists nested 100,000 deep
        raise UserError(f"{place} is not JSON ({error}); give a recipe.json of a run") from None
    return typing.cast(Recipe, _read(Recipe, values, "", place))


def read_recipe(path: str | Path) -> Recipe:
    """The recipe of a run folder, or of a recipe.json itself."""
    path = Path(path)
    file = path / "recipe.json" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"no recipe at {file}; give a run folder with a recipe.json, or such a file")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not text in UTF-8 ({error}); give a recipe.json of a run") from None
    return from_json(text, str(file))


def differences(first: Recipe, second: Recipe) -> list[str]:
    """Full names of the fields in which two recipes differ, such as 'optim.lr'."""
    one, other = _leaves(first, ""), _leaves(second, "")
    return [name for name in one if one[name] != other[name]]


MAY_CHANGE = {  # by --resume too: they change no number (threads: but for rounding)
    *(f"training.{name}" for name in ("workers", "threads", "save_every", "save_steps", "keep_last", "log_every")),
    *(f"training.{name}" for name in ("skip_nonfinite", "checkpointing")),
    "data.bad_share",
    "data.val_batch_size",
    *(f"about.{f.name}" for f in dataclasses.fields(About)),
}


def recipe_hash(recipe: Recipe) -> str:
    """SHA-256, in hex, of every value but those of `MAY_CHANGE`: equal where one run may go on as the other.

    Defaults do not count: a version of muntin that has one field more goes on with runs of one that had not.
    """
    typed = from_json(to_json(recipe))  # 5 where a float is meant becomes 5.0
    usual = _defaults(Recipe, "")
    decisive = {
        name: value
        for name, value in _leaves(typed, "").items()
        if name not in MAY_CHANGE and (name not in usual or value != usual[name])
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _leaves(value: Any, name: str) -> dict[str, Any]:
    if not dataclasses.is_dataclass(value):
        return {name: value}
    found: dict[str, Any] = {}
    for f in dataclasses.fields(value):
        found |= _leaves(getattr(value, f.name), f"{name}.{f.name}" if name else f.name)
    return found


def _defaults(group: type, name: str) -> dict[str, Any]:
    """The defaults of all fields that have one, by full name."""
    found: dict[str, Any] = {}
    kinds = typing.get_type_hints(group)
    for f in dataclasses.fields(group):
        full = f"{name}.{f.name}" if name else f.name
        if dataclasses.is_dataclass(kinds[f.name]):
            found |= _defaults(kinds[f.name], full)
        elif f.default is not dataclasses.MISSING:
            found[full] = f.default
    return found


def _read(kind: Any, value: Any, name: str, place: str) -> Any:
    """`value` as JSON gives it, turned into the type `kind`; `name` is the field's full name."""
    if dataclasses.is_dataclass(kind):
        return _read_group(typing.cast(type, kind), value, name, place)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        for each in arguments:
            with contextlib.suppress(UserError):
                return _read(each, value, name, place)
    if kind is types.NoneType and value is None:
        return None
    if origin is tuple and isinstance(value, list):
        each = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(each) == len(value):
            return tuple(_read(a, v, name, place) for a, v in zip(each, value))
    if origin is Literal and value in arguments:
        return value
    if kind is float and type(value) in (int, float):
        return float(value)
    if kind in (bool, int, str) and type(value) is kind:
        return value
    needed = kind.__name__ if isinstance(kind, type) and origin is None else str(kind).replace("typing.", "")
    raise UserError(f"{place}: {name} is {json.dumps(value)}; it must be {needed}")


def _read_group(group: type, value: Any, name: str, place: str) -> Any:
    if not isinstance(value, dict):
        raise UserError(
            f"{place}: {name or 'the recipe'} is {json.dumps(value)}; it must be an object with named fields"
        )
    fields, prefix = {f.name: f for f in dataclasses.fields(group)}, f"{name}." if name else ""
    for key in value:
        if key not in fields:
            raise unknown("field", f"{prefix}{key}", [prefix + known for known in fields], see=place)
    for key, f in fields.items():
        if key not in value and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise UserError(f"{place}: {prefix}{key} is missing; add it, or start from a recipe.json that a run wrote")
    kinds = typing.get_type_hints(group)
    return group(**{key: _read(kinds[key], given, prefix + key, place) for key, given in value.items()})
