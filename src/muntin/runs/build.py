"""From a resolved recipe to the objects that train."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from muntin import catalog
from muntin.data import (
    Loader,
    MaskGenerator,
    Prepare,
    Source,
    Splits,
    Subset,
    eval_transform,
    few_labels,
    make_mixing,
    open_data,
    train_transform,
    unprepared,
)
from muntin.engine import parallel
from muntin.errors import UserError, sides
from muntin.models.backbone import Backbone
from muntin.ops.windows import Size
from muntin.recipes.recipe import DistillationChoice, ModelChoice, Recipe
from muntin.tasks import Classification, Classifier, Distillation, SimMIM, hard_distillation, soft_distillation
from muntin.weights.class_map import read_class_map
from muntin.weights.create import as_published, create_model
from muntin.weights.load import load_weights

from .resolve import ADOPTED
from .teacher import find_teacher

Task = Classification | SimMIM


class Parts(NamedTuple):
    """What a recipe stands for."""

    task: Task
    train: Loader
    val: Loader | None  # this process's share; None: nothing is held out
    loaded: str  # what became of the tensors of the weights; empty without weights
    teacher: str = ""  # who teaches, in words; empty without a teacher

    @property
    def classes(self) -> tuple[str, ...]:
        """() for SimMIM."""
        return self.train.source.classes

    @property
    def backbone(self) -> Backbone:
        return (self.task.model if isinstance(self.task, Classification) else self.task).backbone

    def list_bad_files(self, out: Path) -> None:
        """Keep lists of pictures that cannot be read in `out`, from now on; those already there count."""
        self.train.bad.list_in(out / "bad_files.txt")
        if self.val:
            self.val.bad.list_in(out / "bad_val_files.txt")


def build(recipe: Recipe, device: torch.device) -> Parts:
    """Task and data. Raises UserError for everything in the recipe that cannot work, before anything is written."""
    source, held_out = _sources(recipe)
    task, loaded, teacher = _task(recipe, source.classes)

    loader = partial(
        Loader,
        prepare=_prepare(recipe, task),
        seed=recipe.training.seed,
        workers=recipe.training.workers,
        rank=parallel.rank(),
        world=parallel.world(),
        bad_share=recipe.data.bad_share,
    )
    train = loader(
        source,
        train_transform(recipe.preprocess, recipe.augment),
        training=True,
        batch_size=recipe.training.micro_batch(parallel.world()),
        shuffle=True,
        drop_last=True,
        mixing=make_mixing(recipe.augment, len(source.classes)),
        repeats=recipe.augment.repeats,
    )
    val = None
    if held_out:
        val = loader(held_out, eval_transform(recipe.preprocess), batch_size=recipe.data.val_batch_size)
    return Parts(task.to(device), train, val, loaded, teacher)


def _sources(recipe: Recipe) -> Splits:
    """The pictures to train on and those held out, as many as the recipe wants."""
    data = recipe.data
    train, val = open_data(data.path, labelled=recipe.task != "simmim", val_share=data.val_share, seed=data.split_seed)
    if data.labels_per_class:
        train = few_labels(train, data.labels_per_class, data.split_seed)
    return Splits(_limited(train, data.limit), val and _limited(val, data.limit))


def _limited(source: Source, limit: int) -> Source:
    count = len(source)
    return Subset(source, [i * count // limit for i in range(limit)]) if 0 < limit < count else source


def _task(recipe: Recipe, classes: tuple[str, ...]) -> tuple[Task, str, str]:
    """The task (of no classes: SimMIM), fresh weights drawn from the recipe's seed; what it took from given ones; who
    teaches."""
    choice, taught_by = recipe.model, ""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        model = create_model(
            choice.name,
            num_classes=len(classes),
            drop_path_rate=choice.drop_path_rate,
            dropout=choice.dropout,
            in_chans=len(recipe.preprocess.mean),
            **choice.config(),
            **_grid(recipe),
        )
        if choice.head_scale != 1:
            model.reset_classifier(model.num_classes, choice.head_scale)
        task: Task
        if recipe.task == "simmim":
            task = SimMIM(model.backbone, recipe.masking.target_window)
        elif recipe.task == "distillation":
            teacher, taught_by = find_teacher(recipe, classes)
            task = _distillation(recipe.distillation, model, teacher, recipe.loss)
        else:
            task = Classification(model, recipe.loss)
    loaded = ""
    if choice.weights:
        rows = read_class_map(choice.class_map) if choice.class_map else ()
        assumed = as_published(choice.name, choice.config())
        loaded = str(
            load_weights(model, choice.weights, replace_head=True, class_rows=rows, resize="auto", assumed=assumed)
        )
        _check_adopted(choice, model.backbone)
    if isinstance(task, SimMIM):
        task.norm.load_state_dict(model.readout.norm.state_dict())
        _check_divides(recipe, task.stride)
    return task, loaded, taught_by


def _check_adopted(choice: ModelChoice, backbone: Backbone) -> None:
    """What weights decide must not be asked for otherwise: the model would compute something else than is said."""
    for name in choice.config().keys() & set(ADOPTED):
        asked, told = choice.config()[name], getattr(backbone.config, name)
        if asked != told:
            raise UserError(
                f"--fields asks for {name} {asked}, and {choice.weights} for {told}; leave it out of --fields"
            )


def _grid(recipe: Recipe) -> dict[str, Any]:
    """Where a model has learned positions (ViT), they are learned for the cells of the recipe's own pictures."""
    name, fields = recipe.model.name, recipe.model.config()
    if not hasattr(catalog.build_config(name, fields), "grid"):
        return {}
    with torch.device("meta"):
        backbone = create_model(name, **fields).backbone
        cells = backbone.embed(torch.empty(1, backbone.config.in_chans, *recipe.preprocess.image_size))
    return {"grid": tuple(cells.shape[1:-1])}


def _distillation(choice: DistillationChoice, model: Classifier, teacher: nn.Module, loss: str) -> Distillation:
    soft = partial(soft_distillation, temperature=choice.temperature, normalisation=choice.normalisation)
    imitate = soft if choice.kind == "soft" else hard_distillation
    return Distillation(model, teacher, imitate=imitate, token=choice.token, alpha=choice.alpha, loss=loss)


def _prepare(recipe: Recipe, task: Task) -> Prepare:
    """What the task does to a sample after the transforms."""
    if not isinstance(task, SimMIM):
        return unprepared
    size, masking = recipe.preprocess.image_size, recipe.masking
    return MaskGenerator(size, masking.mask_patch, task.backbone.strides[0], masking.mask_ratio).prepare


def _check_divides(recipe: Recipe, stride: Size) -> None:
    """SimMIM's decoder paints whole cells of the coarsest level."""
    size = recipe.preprocess.image_size
    if any(side % cell for side, cell in zip(size, stride)):
        given, needed = " x ".join(map(str, size)), sides(stride)
        raise UserError(f"image_size is {given}; SimMIM with {recipe.model.name} needs multiples of {needed} pixels")
