"""Distillation (Hinton et al., 2015, arXiv:1503.02531) as in DeiT (Touvron et al., 2020, arXiv:2012.12877, sec. 4).

- soft: the student follows the teacher's probabilities, flattened by a temperature;
- hard: the teacher's first choice is a second label;
- the distillation token: a head of its own learns from the teacher, the class head from the labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from muntin.data import Augment, Batch, Inputs
from muntin.errors import UserError, refuse, unknown

from .classification import Classification, Classifier, Loss, check_targets
from .task import About, Companions, Load, Losses, Models

Normalisation = Literal["official", "textbook"]
TINY_TEACHER = "deit_tiny"


def hard_distillation(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Cross-entropy against the teacher's first choice, never smoothed: both (B, K) -> scalar, in fp32."""
    return F.cross_entropy(logits.float(), teacher_logits.argmax(1))


def soft_distillation(
    logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0, normalisation: Normalisation = "official"
) -> Tensor:
    """tau^2 KL(softmax(teacher / tau) || softmax(student / tau)): both (B, K) -> scalar, in fp32.

    normalisation: "textbook" is the mean over the batch. "official" divides that by the number of classes, too, as
    DeiT's code does (losses.py; the paper does not say): with 1,000 classes and the same alpha it is that much
    weaker.
    """
    if not temperature > 0:
        raise UserError(f"temperature is {temperature}; it must be above 0")
    divisors = {"official": logits.numel(), "textbook": len(logits)}
    if normalisation not in divisors:
        raise unknown("normalisation", normalisation, divisors)
    ours, theirs = ((each.float() / temperature).log_softmax(1) for each in (logits, teacher_logits))
    divergence = F.kl_div(ours, theirs, reduction="sum", log_target=True) * temperature**2
    return divergence / divisors[normalisation]


class Distillation(Classification):
    """Classification with a teacher: (1 - alpha) * loss against the labels + alpha * imitate(student, teacher).

    teacher: any module from pictures (B, C, H, W), as the student gets them, to logits (B, K). It is put into eval mode
    and frozen, for good. It is a companion: it moves with the task (`.to(device)`) but is in none of its parameters,
    state dict and copies.

    imitate: what the student's logits learn from the teacher's, `hard_distillation` or a `partial` of
    `soft_distillation`. token: whether a head of its own does so, the distillation head of a `DistilledReadout`;
    otherwise the one head learns both. alpha: weight of the teacher, in [0, 1]. loss, classes: as in `Classification`.
    taught_by: the name of the teacher, in words.

    The teacher sees the same pictures as the student, mixed and erased. In evaluation mode the student has one answer,
    and both terms judge it.

    Raises UserError if `token` and the student's readout do not fit, and if a teacher shares weights with the student;
    at the first batch if the teacher has other classes.
    """

    def __init__(
        self,
        model: Classifier,
        teacher: nn.Module,
        *,
        imitate: Callable[[Tensor, Tensor], Tensor] = hard_distillation,
        token: bool = True,
        alpha: float = 0.5,
        loss: str = "cross_entropy",
        classes: tuple[str, ...] = (),
        taught_by: str = "",
    ):
        super().__init__(model, loss, classes)
        if not 0 <= alpha <= 1:
            raise UserError(f"alpha is {alpha}; the weight of the teacher must be at least 0 and at most 1")
        _check_token(model, token)
        if set(teacher.parameters()) & set(model.parameters()):
            raise UserError("the teacher shares weights with the student, and would be frozen; give a copy (deepcopy)")
        self.imitate, self.alpha, self.taught_by = imitate, alpha, taught_by
        self._companions = Companions(teacher=teacher.eval().requires_grad_(False))

    @property
    def teacher(self) -> nn.Module:
        return self._companions["teacher"]

    def companions(self) -> dict[str, nn.Module]:
        return self._companions

    def opening(self) -> list[str]:
        return [f"teacher: {self.taught_by}"] if self.taught_by else []

    def losses(self, batch: Batch) -> Losses:
        """Both terms with their weights, so that their sum is the loss."""
        logits = self.logits(batch)
        imitation = self.imitate(logits[-1], self._teach(batch.inputs["image"], logits[-1].shape[1]))
        labels = (1 - self.alpha) * self.label_loss(logits[0], batch)
        return Losses({self.loss: labels, "distillation": self.alpha * imitation})

    @torch.no_grad()  # not inference_mode: the student's backward pass reads these logits
    def _teach(self, image: Tensor, classes: int) -> Tensor:
        """The teacher's logits (B, K)."""
        logits = self.teacher(image)
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            found = f"a tensor of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
            raise UserError(f"the teacher gives {found}; it must give logits (B, K): wrap it in a module that does")
        if logits.shape[1] != classes:
            raise UserError(
                f"the teacher knows {logits.shape[1]} classes and the student {classes}; take a teacher that was "
                "trained on the same classes"
            )
        return logits

    @classmethod
    def for_answering(
        cls, kept: Classifier, fields: Mapping[str, Any], inputs: Inputs | None, classes: tuple[str, ...]
    ) -> Classification:
        """The student answers as any classifier."""
        return Classification(kept, classes=classes)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self.teacher._apply(fn, recurse)  # what `.to(device)` and its like are made of
        return super()._apply(fn, recurse)

    def to_empty(self, *, device: Any, recurse: bool = True) -> Self:
        """Allocate memory for a student on the meta device; the teacher moves and keeps its weights."""
        self.model.to_empty(device=device, recurse=recurse)
        self.teacher.to(device)
        return self


class Renormalised(nn.Module):
    """A network for pictures of another normalisation: it gets the pictures on the scale of its own training, (B, C, H,
    W).

    given, own: mean and standard deviation, one value a channel each: those of the pictures, and of the network.
    """

    scale: Tensor  # (C, 1, 1)
    shift: Tensor

    def __init__(self, network: nn.Module, given: Sequence[Sequence[float]], own: Sequence[Sequence[float]]):
        super().__init__()
        self.network = network
        (mean, std), (own_mean, own_std) = (torch.tensor(both)[:, :, None, None] for both in (given, own))  # (C, 1, 1)
        self.register_buffer("scale", std / own_std)
        self.register_buffer("shift", (mean - own_mean) / own_std)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x * self.scale + self.shift)


def _check_token(model: Classifier, token: bool) -> None:
    """Raise UserError if the distillation head is missing where it should learn, or is there and would not learn."""
    distilled = len(model.readout.heads()) > 1
    if token and not distilled:
        raise UserError(
            f"the student has no distillation head (its readout is a {type(model.readout).__name__}); choose a "
            "distilled model, such as deit_small_distilled, or do without the token (token=False, --no-token)"
        )
    if distilled and not token:
        raise UserError(
            "without the token the student's distillation head would learn nothing; choose the plain model, or the "
            "token (token=True, --token)"
        )


@dataclass(frozen=True, kw_only=True)
class DistillationChoice:
    """Learn classes from labels and from a teacher."""

    kind: Literal["distillation"] = field(default="distillation", init=False)
    loss: Loss = "cross_entropy"
    """Against the labels: softmax cross-entropy, or a yes or no for each class, where any share above 0 is a yes."""
    teacher: str = ""
    """Name of the teacher's model, see `muntin models`; empty: the model that `teacher_weights` were saved with."""
    teacher_weights: str = ""
    """The teacher's trained weights: a run folder, a model folder or a file."""
    untrained_teacher: bool = False
    """Whether a teacher with random weights will do when `teacher_weights` is empty: for trials, it teaches nothing."""
    imitate: Literal["hard", "soft"] = "hard"
    """hard: the teacher's first choice is a second label. soft: the student follows the teacher's probabilities."""
    token: bool = True
    """Whether a distillation head of its own, which the model must have, learns from the teacher; else its one head."""
    alpha: float = 0.5
    """Weight of the teacher, in [0, 1]; the labels have the rest."""
    temperature: float = 1.0
    """Soft: what both logits are divided by before they become probabilities; DeiT's paper: 3."""
    normalisation: Normalisation = "official"
    """Soft: mean over pictures (textbook), or over pictures and classes (DeiT's code; far weaker at the same alpha)."""

    def __post_init__(self) -> None:
        """Raises UserError with every value that is out of range."""
        wrong = []
        if not 0 <= self.alpha <= 1:
            wrong.append(f"alpha is {self.alpha}; it must be at least 0 and at most 1")
        if not 0 < self.temperature < math.inf:
            wrong.append(f"temperature is {self.temperature}; it must be above 0")
        refuse("task", wrong)

    labelled: ClassVar[bool] = True
    task: ClassVar[type] = Distillation

    def check(self, augment: Augment) -> None:
        """Raise UserError where the loss cannot learn from the targets that this augmentation makes."""
        check_targets(self.loss, augment)

    def tiny(self) -> DistillationChoice:
        """The choice for a trial: a missing teacher is an untrained one."""
        return replace(self, teacher=self.teacher or TINY_TEACHER, untrained_teacher=True)

    def build(self, models: Models, about: About, load: Load) -> Distillation:
        """Build the task with the chosen student, and the teacher on its own scale of pixels.

        A model folder or run folder tells the teacher's classes and normalisation. A bare file needs a model's name and
        counts as trained on the recipe's normalisation. The size of the pictures is the student's. Raises UserError if
        no teacher is named, if classes or channels differ, and if weights do not fit.
        """
        student = models.classifier(len(about.classes))
        teacher, taught_by = self._find_teacher(about, load)
        soft = partial(soft_distillation, temperature=self.temperature, normalisation=self.normalisation)
        imitate = soft if self.imitate == "soft" else hard_distillation
        return Distillation(
            student,
            teacher,
            imitate=imitate,
            token=self.token,
            alpha=self.alpha,
            loss=self.loss,
            classes=about.classes,
            taught_by=taught_by,
        )

    def _find_teacher(self, about: About, load: Load) -> tuple[nn.Module, str]:
        """The teacher, for pictures as its student gets them, and who that is, in words."""
        weights, mean = self.teacher_weights, about.inputs.mean
        if not weights and not self.untrained_teacher:
            raise UserError(
                f"the recipe '{about.recipe}' learns from a teacher: give --teacher-weights RUN_OR_FILE (and --teacher "
                "NAME where that is a bare file), or say --untrained-teacher for a trial"
            )
        if not weights and not self.teacher:
            raise UserError("an untrained teacher needs a name: --teacher NAME (`muntin models` lists them)")
        try:
            found = load(weights, self.teacher, len(about.classes), len(mean), "--teacher")
        except UserError as error:
            raise UserError(f"cannot load the teacher for {len(about.classes)} classes: {error}") from None
        _check_classes(found.classes, about.classes, weights)
        who = f"{found.name} of {weights}" if weights else f"{found.name}, untrained"
        if found.inputs is None:
            return found.module, who
        ours, theirs = (mean, about.inputs.std), (found.inputs.mean, found.inputs.std)
        if len(theirs[0]) != len(mean):
            raise UserError(
                f"the teacher of {weights} takes {len(theirs[0])} channel(s) and the student gets {len(mean)}; give "
                "--mean and --std as many values as the teacher has channels"
            )
        if theirs == ours:
            return found.module, who
        scale = f"shown pictures with its own mean {theirs[0]} and std {theirs[1]}"
        return Renormalised(found.module, ours, theirs), f"{who}, {scale}"


def _check_classes(theirs: tuple[str, ...] | None, ours: tuple[str, ...], place: str) -> None:
    """Raise UserError unless the names are the same in the same order; a converted teacher whose classes are only
    numbers needs the same count.
    """
    if theirs is None:
        return
    if len(theirs) != len(ours):
        raise UserError(f"the teacher of {place} knows {len(theirs)} classes and the data has {len(ours)}")
    first = next(((a, b) for a, b in zip(theirs, ours) if a != b), None)
    if first and theirs != tuple(map(str, range(len(theirs)))):
        raise UserError(
            f"the teacher of {place} knows other classes than the data has, or another order: '{first[0]}' is where "
            f"the data has '{first[1]}'; take a teacher that was trained on the same classes"
        )
