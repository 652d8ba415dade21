"""Model folders: config.json and model.safetensors, everything that is needed to build a model and prepare its
pictures.

config.json records size and SHA-256 of the weights, and a checksum of itself (`files.sums`), so that a changed byte in
either is found when the folder is loaded. Folders of earlier formats are read too: `_migrated`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from muntin.catalog import Fresh, build_config, entry
from muntin.data import Inputs, inputs_from
from muntin.errors import UserError, unknown
from muntin.files import config_beside, write_model_folder
from muntin.files.sums import CONFIG, FORMAT, FORMATS_BEFORE
from muntin.tasks.index import for_answering, kept
from muntin.weights.load import load_kept, weights_file

# what a module of each kind answers where nothing else is said
ANSWERS: dict[str, dict[str, Any]] = {
    "classifier": {"kind": "classification"},
    "simmim": {"kind": "simmim"},
    "backbone": {},
}
# kinds whose task has settings -> the group of a recipe that held them before model folders did
SETTINGS_BEFORE = {"simmim": "masking"}


def save_model(
    folder: Path,
    name: str,
    model: nn.Module,
    *,
    kind: str,
    classes: tuple[str, ...],
    inputs: Mapping[str, Any],
    task: Mapping[str, Any] | None = None,
) -> None:
    """Write config.json and model.safetensors: everything that is needed to build the model and to prepare its
    pictures.

    kind: "classifier", "simmim" or "backbone" (alone, or with norms of its levels). inputs: how the model is fed,
    `Inputs.to_dict()`; {} if unknown. task: what it answers, `Task.answering()`; default: what its kind answers with
    the defaults of its task. An existing folder keeps its other files; a crash leaves the old model in it or the new
    one, never a mixture.
    """
    backbone: nn.Module = model.backbone  # type: ignore[assignment]
    found = entry(name)
    if type(backbone) is not found.family.backbone:
        names = type(backbone).__name__, found.family.backbone.__name__
        raise UserError(f"this model is a {names[0]}, and {found.name} names a {names[1]}")
    _check_classes(model.state_dict(), classes)
    config = {
        "format": FORMAT,
        "kind": kind,
        "model": found.name,
        "config": found.family.changes(backbone.config, found.config),
        "num_classes": len(classes),
        "classes": list(classes),
        "inputs": dict(inputs),
        "task": dict(ANSWERS[kind] if task is None else task),
    }
    size = inputs.get("image_size")
    config |= found.family.beside(backbone.config, tuple(size) if size else None)
    write_model_folder(folder, model.state_dict(), config)


class Saved(NamedTuple):
    """A model with everything that a model folder holds beside it."""

    model: Any  # an nn.Module that some task keeps: with `backbone`, `kind` and `answering()`
    name: str  # in the catalog
    classes: tuple[str, ...]
    inputs: Mapping[str, Any]  # how the model is fed, `Inputs.to_dict()`; {} where nobody knows
    task: Mapping[str, Any] = {}  # what it answers, `Task.answering()`; {}: as the model itself says

    @property
    def preprocess(self) -> Mapping[str, Any]:
        """The inputs."""
        return self.inputs

    def answering(self) -> Mapping[str, Any]:
        """What the model answers, `Task.answering()`."""
        return self.task or self.model.answering()

    def fed(self) -> Inputs:
        """The inputs as an object. Raises UserError if they are unknown."""
        if not self.inputs:
            raise UserError(f"this {self.name} says nothing of its pictures (size, mean, std); save it with its inputs")
        return inputs_from(self.inputs)


def load_model(folder: str | Path) -> Saved:
    """Build the model that a model folder or run folder holds, in eval mode.

    Raises UserError for a folder without a model, for a backbone alone, and for a config that contradicts its weights.
    """
    config = read_config(folder)
    if not config["task"]:
        raise UserError(f"{folder} holds a {config['kind']}, which names no classes; fine-tune it first")
    build_config(config["model"], config["config"])  # refuses what is no field before it could be another argument
    models = Fresh(config["model"], config["config"])
    with torch.device("meta"):
        promised = kept(config["task"], models, config["num_classes"])
    count, size = sum(p.numel() for p in promised.parameters()), weights_file(folder).stat().st_size
    if count > size:  # before memory is asked for
        raise UserError(f"{folder}: config.json describes {count:,} parameters, and its weights have {size:,} bytes")
    model = kept(config["task"], models, config["num_classes"])
    load_kept(model, folder)
    inputs = config["inputs"]
    classes = tuple(config["classes"])
    task: Any = for_answering(model, config["task"], inputs_from(inputs) if inputs else None, classes)
    return Saved(task.keeps().eval(), config["model"], classes, inputs, config["task"])


def read_config(folder: str | Path) -> dict[str, Any]:
    """Read and check the config.json of a model folder or run folder."""
    weights = weights_file(folder)
    path, config = weights.with_name(CONFIG), config_beside(weights)
    if config is None:
        raise UserError(f"{path} is missing or describes no model of muntin; it must lie beside {weights.name}")
    wanted = {
        "format": str,
        "kind": str,
        "model": str,
        "config": dict,
        "num_classes": int,
        "classes": list,
        "inputs": dict,
        "task": dict,
    }
    config = _migrated(config, weights)
    for key, kind in wanted.items():
        if not isinstance(config.get(key), kind):
            raise UserError(f"{path} is no model description: '{key}' is missing or no {kind.__name__}")
    if config["kind"] not in ANSWERS:
        raise unknown("kind", config["kind"], ANSWERS, see=str(path))
    if not all(isinstance(name, str) for name in config["classes"]):
        raise UserError(f"{path} is no model description: 'classes' must hold names")
    if len(config["classes"]) != config["num_classes"]:
        raise UserError(f"{path} names {len(config['classes'])} classes but says num_classes {config['num_classes']}")
    return config


def _migrated(config: dict[str, Any], weights: Path) -> dict[str, Any]:
    """Turn a description into the present format. The two formats before it called the inputs `preprocess`, knew
    only pictures, and named no task: its settings stand in the recipe.json of the run above, if anywhere.
    """
    if config.get("format") not in FORMATS_BEFORE:
        return config
    kind = config.get("kind")
    task = ANSWERS.get(kind, {}) if isinstance(kind, str) else {}
    if isinstance(kind, str) and kind in SETTINGS_BEFORE:
        settings = _settings_of_the_run(weights, SETTINGS_BEFORE[kind])
        task = {} if settings is None else task | settings
    return {**config, "inputs": config.get("inputs", config.get("preprocess")), "task": task}


def _settings_of_the_run(weights: Path, group: str) -> dict[str, Any] | None:
    """A group of the recipe.json above a model folder of the formats before; None without one."""
    for folder in weights.resolve().parents[:4]:  # RUN/checkpoints/best/model is the deepest
        try:
            settings = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))[group]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if isinstance(settings, dict):
            return settings
    return None


def _check_classes(tensors: Mapping[str, Tensor], classes: tuple[str, ...]) -> None:
    """Raise UserError unless there is a name for every class of the head, if there is a head."""
    head = tensors.get("readout.head.weight")
    if head is not None and len(head) != len(classes):
        raise UserError(f"the model has {len(head)} classes, but {len(classes)} class names were given")
