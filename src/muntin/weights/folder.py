"""Model folders: config.json and model.safetensors, all that is needed to build a model and prepare its pictures.

config.json records size and SHA-256 of the weights, and a checksum of itself (`disk.records`), so that a changed
byte in either is found when the folder is loaded. Folders of the format before, without them, are read as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from muntin.catalog import build_config, entry
from muntin.errors import UserError, unknown
from muntin.files import config_beside, write_model_folder
from muntin.files.sums import CONFIG, FORMAT
from muntin.tasks import Classifier
from muntin.weights.create import create_model
from muntin.weights.load import weights_file

KINDS = ("classifier", "simmim", "backbone")


def save_model(
    folder: Path, name: str, model: nn.Module, *, kind: str, classes: tuple[str, ...], preprocess: dict
) -> None:
    """Write config.json and model.safetensors: all that is needed to build the model and to prepare its pictures.

    kind: "classifier", "simmim" or "backbone" (alone, or with norms of its levels).
    preprocess: `data.PictureInput.to_dict()`.
    A folder that is there keeps its other files; a crash leaves the old model in it or the new one, never a mixture.
    """
    backbone: nn.Module = model.backbone  # type: ignore[assignment]
    found = entry(name)
    if type(backbone) is not found.family.backbone:
        names = type(backbone).__name__, found.family.backbone.__name__
        raise UserError(f"this model is a {names[0]}, and {found.name} names a {names[1]}")
    if isinstance(model, Classifier) and model.num_classes != len(classes):
        raise UserError(f"the model has {model.num_classes} classes, but {len(classes)} class names were given")
    config = {
        "format": FORMAT,
        "kind": kind,
        "model": found.name,
        "config": found.family.changes(backbone.config, found.config),
        "num_classes": len(classes),
        "classes": list(classes),
        "preprocess": preprocess,
    }
    size = preprocess.get("image_size")
    config |= found.family.beside(backbone.config, tuple(size) if size else None)
    write_model_folder(folder, model.state_dict(), config)


class Saved(NamedTuple):
    """A model folder read back."""

    model: Classifier
    name: str
    classes: tuple[str, ...]
    preprocess: dict


def load_model(folder: str | Path) -> Saved:
    """Build the classifier that a model folder or run folder holds, in eval mode.

    Raises UserError for a folder without one, a pre-training model, and a config that contradicts its weights.
    """
    config = read_config(folder)
    if config["kind"] != "classifier":
        what = "simmim pre-training model" if config["kind"] == "simmim" else config["kind"]
        raise UserError(f"{folder} holds a {what}, which names no classes; fine-tune it first")
    build_config(config["model"], config["config"])  # refuses what is no field before it could be another argument
    with torch.device("meta"):
        promised = create_model(config["model"], num_classes=config["num_classes"], **config["config"])
    count, size = sum(p.numel() for p in promised.parameters()), weights_file(folder).stat().st_size
    if count > size:  # before memory is asked for
        raise UserError(f"{folder}: config.json describes {count:,} parameters, and its weights have {size:,} bytes")
    model = create_model(config["model"], num_classes=config["num_classes"], weights=folder, **config["config"])
    return Saved(model.eval(), config["model"], tuple(config["classes"]), config["preprocess"])


def read_config(folder: str | Path) -> dict[str, Any]:
    """config.json of a model folder or run folder, checked."""
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
        "preprocess": dict,
    }
    for key, kind in wanted.items():
        if not isinstance(config.get(key), kind):
            raise UserError(f"{path} is no model description: '{key}' is missing or no {kind.__name__}")
    if config["kind"] not in KINDS:
        raise unknown("kind", config["kind"], KINDS, see=str(path))
    if not all(isinstance(name, str) for name in config["classes"]):
        raise UserError(f"{path} is no model description: 'classes' must hold names")
    if len(config["classes"]) != config["num_classes"]:
        raise UserError(f"{path} names {len(config['classes'])} classes but says num_classes {config['num_classes']}")
    return config
