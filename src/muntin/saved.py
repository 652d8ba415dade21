"""Model folders: config.json and model.safetensors, all that is needed to build a model and prepare its pictures."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import save_file
from torch import nn

from muntin.catalog import build_config, create_model, entry
from muntin.errors import UserError
from muntin.models import Swin, SwinConfig, SwinV2
from muntin.tasks import Classifier
from muntin.weights import weights_file

FORMAT = "muntin/1"


def save_model(
    folder: Path, name: str, model: nn.Module, *, kind: str, classes: tuple[str, ...], preprocess: dict
) -> None:
    """Write config.json and model.safetensors: all that is needed to build the model and to prepare its pictures.

    kind: "classifier" or "simmim". preprocess: `data.Preprocess.to_dict()`.
    """
    backbone: Swin = model.backbone  # type: ignore[assignment]
    found = entry(name)
    if type(backbone) is not found.family:
        raise UserError(f"this model is a {type(backbone).__name__}, and {found.name} names a {found.family.__name__}")
    if isinstance(model, Classifier) and model.num_classes != len(classes):
        raise UserError(f"the model has {model.num_classes} classes, but {len(classes)} class names were given")
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    config = {
        "format": FORMAT,
        "kind": kind,
        "model": found.name,
        "config": _config_changes(name, backbone),
        "num_classes": len(classes),
        "classes": list(classes),
        "preprocess": preprocess,
    }
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


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
        raise UserError(
            f"{folder} holds a {config['kind']} pre-training model, which names no classes; fine-tune it first"
        )
    build_config(config["model"], config["config"])  # refuses what is no field before it could be another argument
    model = create_model(config["model"], num_classes=config["num_classes"], weights=folder, **config["config"])
    return Saved(model.eval(), config["model"], tuple(config["classes"]), config["preprocess"])


def read_config(folder: str | Path) -> dict[str, Any]:
    """config.json of a model folder or run folder, checked."""
    path = weights_file(folder).with_name("config.json")
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is missing or damaged; it must lie beside model.safetensors") from error
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
        if not isinstance(config, dict) or not isinstance(config.get(key), kind):
            raise UserError(f"{path} is no model description: '{key}' is missing or no {kind.__name__}")
    if not all(isinstance(name, str) for name in config["classes"]):
        raise UserError(f"{path} is no model description: 'classes' must hold names")
    if config["format"] != FORMAT:
        raise UserError(f"{path} has format '{config['format']}'; this version reads '{FORMAT}'")
    if len(config["classes"]) != config["num_classes"]:
        raise UserError(f"{path} names {len(config['classes'])} classes but says num_classes {config['num_classes']}")
    return config


def _config_changes(name: str, backbone: Swin) -> dict[str, Any]:
    """The fields in which a backbone, as it is now, differs from its variant."""
    base = entry(name).config
    config = backbone.config
    changes = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    changes |= {"window": tuple(stage[0].window for stage in backbone.attentions())}
    if isinstance(backbone, SwinV2):
        scales = tuple(stage[0].position.scale_window for stage in backbone.attentions())
        changes |= {"pretrained_window": scales if all(scales) else None}
    return {k: v for k, v in changes.items() if v != getattr(base, k) and not (k == "window" and _same_window(v, base))}


def _same_window(windows: tuple, base: SwinConfig) -> bool:
    return all(w == base.window for w in windows)
