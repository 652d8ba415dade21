"""A trained model on disk: the folder `model/` of a run, with config.json and model.safetensors.

config.json says what the weights cannot: which model, how it differs from the published one, the class names, and what
is done to a picture before it enters.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from muntin import catalog
from muntin.data import Preprocess
from muntin.errors import UserError
from muntin.tasks.classification import Classifier


@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """What a model folder holds. The model is in eval mode, on the CPU."""

    model: Classifier
    preprocess: Preprocess
    classes: tuple[str, ...]  # of the outputs, in order
    place: Path  # the model folder


def load(place: str | Path) -> SavedModel:
    """The classifier in a run folder or in a model folder.

    Raises UserError when there is none, when it is no classifier, and when its weights and its config.json differ, the
    number of classes included: nothing is left out, added or made up on the way.
    """
    folder = _model_folder(Path(place))
    config = _read_config(folder / "config.json")
    classes, weights = tuple(config["classes"]), _read_weights(folder / "model.safetensors")
    if config["num_classes"] != len(classes):
        raise UserError(
            f"{folder / 'config.json'} has num_classes {config['num_classes']} but names {len(classes)} classes; "
            "restore the file that was saved with the weights"
        )
    model = catalog.create_model(config["model"], num_classes=len(classes), **_tuples(config["config"]))
    _check_same(weights, model.state_dict(), folder)
    model.load_state_dict(weights)
    preprocess = Preprocess.from_dict(config["preprocess"])
    return SavedModel(model=model.eval(), preprocess=preprocess, classes=classes, place=folder)


def _model_folder(place: Path) -> Path:
    if not place.exists():
        raise UserError(f"no model at {place}: give a run folder (such as runs/first) or its model/ folder")
    for folder in (place, place / "model"):
        if (folder / "config.json").is_file() and (folder / "model.safetensors").is_file():
            return folder
    raise UserError(
        f"{place} has no model/ with config.json and model.safetensors; a run writes it when it has finished"
    )


def _read_config(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise UserError(f"{file} is not JSON; restore the file that was saved with the weights") from None
    needed = ("format", "kind", "model", "config", "num_classes", "classes", "preprocess")
    missing = [key for key in needed if key not in config] if isinstance(config, dict) else needed
    if missing:
        raise UserError(f"{file} lacks {', '.join(missing)}; it is not a config.json that muntin wrote")
    if config["format"] != "muntin/1":
        raise UserError(f"{file} has the format '{config['format']}'; this version of muntin reads 'muntin/1'")
    if config["kind"] != "classifier":
        raise UserError(
            f"{file.parent} holds a {config['kind']} model, which names no classes; "
            f"fine-tune it first: muntin train finetune --weights {file.parent} --data FOLDER"
        )
    return config


def _tuples(value: Any) -> Any:
    """JSON has lists where a configuration has tuples."""
    if isinstance(value, dict):
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(_tuples(inner) for inner in value) if isinstance(value, list) else value


def _read_weights(file: Path) -> dict[str, Any]:
    try:
        return load_file(file)
    except SafetensorError as error:
        raise UserError(f"{file} is not a whole safetensors file ({error}); copy it again") from None


def _check_same(weights: dict[str, Any], needed: dict[str, Any], folder: Path) -> None:
    """The saved tensors are exactly those that the configured model has."""
    other = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(needed[name].shape)}"
        for name in needed
        if name in weights and weights[name].shape != needed[name].shape
    ]
    differences = {
        "missing": [name for name in needed if name not in weights],
        "not known": [name for name in weights if name not in needed],
        "of other shape": other,
    }
    said = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in differences.items()
        if names
    ]
    if said:
        raise UserError(
            f"weights and config.json in {folder} differ, tensors: {'; '.join(said)}. Restore the pair that was saved"
        )
