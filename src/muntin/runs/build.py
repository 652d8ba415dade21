"""Builds the objects that train from a resolved recipe."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from muntin import catalog
from muntin.data import (
    Loader,
    Source,
    Splits,
    Subset,
    few_labels,
    make_mixing,
    open_data,
    train_transform,
)
from muntin.engine import parallel
from muntin.recipes.recipe import Recipe
from muntin.tasks import Classifier
from muntin.tasks.task import About
from muntin.weights.class_map import read_class_map
from muntin.weights.create import as_published
from muntin.weights.load import load_weights

from .resolve import check_adopted, for_pictures
from .trained import load_trained


class Parts(NamedTuple):
    """The objects that a recipe describes."""

    task: Any  # a `Task`, on the device
    train: Loader
    val: Loader | None  # this process's share; None: nothing is held out
    loaded: str  # what became of the tensors of the weights; empty without weights

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; () if the task needs no labels."""
        return self.train.source.classes

    def list_bad_files(self, out: Path) -> None:
        """List samples that cannot be read in files in `out`, from now on; those already listed there count."""
        self.train.bad.list_in(out / "bad_files.txt")
        if self.val:
            self.val.bad.list_in(out / "bad_val_files.txt")


class Chosen:
    """The model that a recipe chooses, with the weights it starts from: a `Models` of `tasks.task`."""

    def __init__(self, recipe: Recipe):
        self.name, self._recipe = recipe.model.name, recipe
        self.loaded = ""  # what became of the tensors of the weights

    def classifier(self, num_classes: int) -> Classifier:
        """Make the classifier: fresh weights from the global generator, then the recipe's weights."""
        choice, inputs = self._recipe.model, self._recipe.inputs
        fields = {"in_chans": len(inputs.mean), **choice.config, **for_pictures(choice, inputs)}
        model = catalog.build_classifier(choice.name, num_classes, fields, choice.drop_path_rate, choice.dropout)
        if choice.head_scale != 1:
            model.reset_classifier(model.num_classes, choice.head_scale)
        if choice.weights:
            rows = read_class_map(choice.class_map) if choice.class_map else ()
            assumed = as_published(choice.name, choice.config)
            report = load_weights(
                model, choice.weights, replace_head=True, class_rows=rows, resize="auto", assumed=assumed
            )
            self.loaded = str(report)
            check_adopted(choice, model.backbone)
        return model


def build(recipe: Recipe, device: torch.device) -> Parts:
    """Build task and data. Raises UserError for everything in the recipe that cannot work, before anything is
    written.
    """
    source, held_out = _sources(recipe)
    models = Chosen(recipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        about = About(recipe.name, source.classes, recipe.inputs)
        task: Any = recipe.task.build(models, about, partial(load_trained, seed=recipe.training.seed))
    loader = partial(
        Loader,
        prepare=task.prepare,
        collate=task.collate,
        seed=recipe.training.seed,
        workers=recipe.training.workers,
        rank=parallel.rank(),
        world=parallel.world(),
        bad_share=recipe.data.bad_share,
    )
    train = loader(
        source,
        train_transform(recipe.inputs, recipe.augment),
        batch_size=recipe.training.micro_batch(parallel.world()),
        shuffle=True,
        drop_last=True,
        training=True,
        mixing=make_mixing(recipe.augment, len(source.classes)),
        repeats=recipe.augment.repeats,
    )
    val = None
    if held_out:
        val = loader(held_out, recipe.inputs.eval_transform(), batch_size=recipe.data.val_batch_size)
    for companion in task.companions().values():
        companion.to(device)
    return Parts(task.to(device), train, val, models.loaded)


def _sources(recipe: Recipe) -> Splits:
    """The samples to train on and those held out, as many as the recipe wants."""
    data = recipe.data
    train, val = open_data(data.path, labelled=recipe.task.labelled, val_share=data.val_share, seed=data.split_seed)
    if data.labels_per_class:
        train = few_labels(train, data.labels_per_class, data.split_seed)
    return Splits(_limited(train, data.limit), val and _limited(val, data.limit))


def _limited(source: Source, limit: int) -> Source:
    count = len(source)
    return Subset(source, [i * count // limit for i in range(limit)]) if 0 < limit < count else source
