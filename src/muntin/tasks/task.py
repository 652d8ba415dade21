"""The contract between a task and everything that trains, measures, asks, shows and saves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

from torch import Tensor, nn

from muntin.data import Augment, Batch, Collate, Inputs, Prepare
from muntin.evals import Meter


class Best(NamedTuple):
    """The metric whose best evaluation is kept."""

    metric: str
    higher: bool  # whether more is better


class Shown(NamedTuple):
    """A metric at the head of a report."""

    metric: str
    label: str
    share: bool = True  # of samples, shown in percent; otherwise a plain number


class Losses(NamedTuple):
    """terms: scalars whose sum is minimised. shown: others, which are only logged. Every batch has the same names."""

    terms: dict[str, Tensor]
    shown: Mapping[str, Tensor] = {}


class Task(Protocol):
    """An `nn.Module` whose forward is `losses`: what DDP, compile and the training loop wrap.

    A protocol, not a parent: any module with these members can be trained, measured, asked and saved.
    """

    best: Best
    shown: tuple[Shown, ...]
    answers: str  # the kind of what `answer` gives, see `muntin.answers`
    classes: tuple[str, ...]  # names of the classes that answers are about; () for other answers
    prepare: Prepare
    collate: Collate

    def losses(self, batch: Batch) -> Losses:
        """The losses that training minimises."""

    def answer(self, batch: Batch) -> Any:
        """The task's answer to a batch, with what its meter needs of the loss."""

    def meter(self) -> Meter:
        """A fresh measure of answers."""

    def layers(self) -> list[list[nn.Module]]:
        """All layers from input to output; a group shares one depth."""

    def parts(self) -> dict[str, nn.Module]:
        """Parts by name, for learning-rate factors and freezing; "backbone" is one of them."""

    def companions(self) -> dict[str, nn.Module]:
        """Frozen modules beside the task, such as a teacher: they move with it and are in no state dict."""

    def keeps(self) -> nn.Module:
        """The module that a model folder holds."""

    def answering(self) -> dict[str, Any]:
        """What `for_answering` needs besides the kept module to make the task again, as JSON values; "kind" names
        it.
        """

    def initialise(self) -> None:
        """Fresh weights for every parameter."""

    def no_weight_decay(self) -> set[str]:
        """Names of own parameters that do not decay."""

    def opening(self) -> list[str]:
        """Lines for the start of a run, such as the name of the teacher."""

    def closing(self, summary: Mapping[str, Any]) -> str:
        """The result in words, from the numbers of summary.json."""

    def then(self, run: str, data: str, inputs: Inputs) -> str:
        """The next command to try after a run in this folder on this data."""


class Companions(dict[str, nn.Module]):
    """Frozen modules beside a task. A dictionary hides them from the task's parameters and state; copies share them."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Companions:
        return self


class About(NamedTuple):
    """What a task is built for, besides its own choice."""

    recipe: str  # its name, for messages
    classes: tuple[str, ...]  # of the data; () where it is read without labels
    inputs: Inputs


class Models(Protocol):
    """Makes the model that a recipe chooses, with its weights."""

    @property
    def name(self) -> str:
        """In the catalog."""

    def classifier(self, num_classes: int) -> Any:
        """Make a `Classifier`; without classes it gives pooled features."""


class Trained(NamedTuple):
    """A network that was trained before."""

    module: nn.Module
    name: str  # in the catalog
    classes: tuple[str, ...] | None  # None: nothing says them
    inputs: Inputs | None  # None: nothing says them


class Load(Protocol):
    """Finds trained networks, such as teachers. Raises UserError with the reason if there is none."""

    def __call__(self, weights: str, name: str, num_classes: int, in_chans: int, option: str) -> Trained:
        """weights: a run folder, a model folder or a file; empty for fresh weights. name: of the catalog, needed by
        a bare file; option: the flag that gives it on the command line, for messages. num_classes, in_chans: of a
        network whose folder does not say them.
        """


class TaskChoice(Protocol):
    """What a recipe says about its task: a frozen dataclass in the task's file. The command line shows its other
    fields.
    """

    @property
    def kind(self) -> str:
        """The name of the task in recipe.json."""

    labelled: ClassVar[bool]  # whether the task needs data with labels
    task: ClassVar[type]  # of what `build` gives

    def check(self, augment: Augment) -> None:
        """Raise UserError if the task cannot learn from pictures that are changed in this way."""

    def tiny(self) -> Any:
        """The choice for a trial on pictures of 32 x 32 pixels."""

    def build(self, models: Models, about: About, load: Load) -> Any:
        """Build the `Task`. Raises UserError for what cannot work."""
