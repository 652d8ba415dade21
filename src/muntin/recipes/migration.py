"""Reads recipe.json as muntin wrote it before files named their format: turns it into the second format, and hashes it.

There the task was a word, with the groups `loss`, `masking` and `distillation` beside it for any task that read them.
Fields of the models' configs stood among those of `model`, further ones as a JSON text in `model.fields`. `inputs` were
called `preprocess`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from muntin.errors import UserError, unknown

REQUIRED = ("name", "task", "data.path")
# The other fields of the first format with the defaults of the time, which its hash leaves out.
DEFAULTS: dict[str, Any] = {
    "model.name": "",
    "model.weights": "",
    "model.from_scratch": True,
    "model.class_map": "",
    "model.drop_path_rate": 0.0,
    "model.dropout": 0.0,
    "model.head_scale": 1.0,
    "model.patch": None,
    "model.dim": None,
    "model.dims": None,
    "model.depth": None,
    "model.depths": None,
    "model.heads": None,
    "model.window": None,
    "model.pretrained_window": None,
    "model.fields": "",
    "data.val_share": 0.1,
    "data.split_seed": 0,
    "data.labels_per_class": 0,
    "data.limit": 0,
    "preprocess.image_size": [224, 224],
    "preprocess.crop_ratio": 0.875,
    "preprocess.interpolation": "bicubic",
    "preprocess.mean": [0.485, 0.456, 0.406],
    "preprocess.std": [0.229, 0.224, 0.225],
    "augment.repeats": 1,
    "augment.crop": "none",
    "augment.crop_scale": [0.08, 1.0],
    "augment.crop_ratio": [0.75, 4 / 3],
    "augment.pad": 4,
    "augment.flip": 0.0,
    "augment.rotate": 0.0,
    "augment.translate": 0.0,
    "augment.zoom": [1.0, 1.0],
    "augment.shear": 0.0,
    "augment.randaugment": 0.0,
    "augment.randaugment_std": 0.5,
    "augment.randaugment_ops": 2,
    "augment.three_augment": False,
    "augment.color_jitter": 0.0,
    "augment.erasing": 0.0,
    "augment.mixup": 0.0,
    "augment.cutmix": 0.0,
    "augment.cutmix_sides": [0.0, 0.0],
    "augment.mix_mode": "batch",
    "augment.mix_probability": 1.0,
    "augment.mix_switch": 0.5,
    "augment.smoothing": 0.0,
    "optim.kind": "adamw",
    "optim.lr": 0.001,
    "optim.lr_batch": 0,
    "optim.weight_decay": 0.05,
    "optim.betas": [0.9, 0.999],
    "optim.eps": 1e-08,
    "optim.momentum": 0.9,
    "optim.clip_grad": 5.0,
    "optim.layer_decay": 1.0,
    "schedule.kind": "cosine",
    "schedule.clock": "late_update",
    "schedule.epochs": 300,
    "schedule.warmup_epochs": 20.0,
    "schedule.warmup_lr": 5e-07,
    "schedule.min_lr": 5e-06,
    "schedule.warmup_prefix": True,
    "schedule.decay_epochs": 30.0,
    "schedule.decay_rate": 0.1,
    "schedule.milestones": [],
    "training.batch_size": 64,
    "training.accumulate": 1,
    "training.precision": "auto",
    "training.ema": 0.0,
    "training.compile": False,
    "training.seed": 0,
    "training.eval_every": 1,
    "loss": "cross_entropy",
    "masking.mask_patch": 32,
    "masking.mask_ratio": 0.6,
    "masking.target_window": 0,
    "distillation.teacher": "",
    "distillation.teacher_weights": "",
    "distillation.untrained_teacher": False,
    "distillation.kind": "hard",
    "distillation.token": True,
    "distillation.alpha": 0.5,
    "distillation.temperature": 1.0,
    "distillation.normalisation": "official",
}
# Fields that a resumed run could change, and the hash does not know.
CHANGEABLE = {
    *("data.bad_share", "data.val_batch_size", "training.checkpointing", "training.workers", "training.threads"),
    *("training.save_every", "training.save_steps", "training.keep_last", "training.log_every"),
    *("training.skip_nonfinite", "about.paper", "about.command", "about.hardware", "about.expected"),
    *("about.starts_from", "about.notes"),
}
CONFIG = ("patch", "dim", "dims", "depth", "depths", "heads", "window", "pretrained_window")


def migrated(old: dict[str, Any], place: str) -> dict[str, Any]:
    """Turn the values into the second format; those without effect, such as masks of a classification, are left out.

    Raises UserError for fields that the first format did not have.
    """
    _check_names(old, place)
    moved = ("task", "loss", "masking", "distillation", "model", "preprocess")
    new = {name: value for name, value in old.items() if name not in moved}
    if "task" in old:
        new["task"] = {"kind": old["task"], **_task_fields(old)}
    if "model" in old:
        new["model"] = _model(old["model"], place)
    if "preprocess" in old:
        new["inputs"] = old["preprocess"]
    return new


def first_hash(old: dict[str, Any]) -> str:
    """The SHA-256, in hex, that checkpoints of a run of the first format hold."""
    typed = {name: _typed_as(DEFAULTS.get(name), value) for name, value in _leaves(old).items()}
    usual = {name: value for name, value in DEFAULTS.items() if name in typed and typed[name] == value}
    decisive = {name: value for name, value in typed.items() if name not in usual and name not in CHANGEABLE}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _task_fields(old: dict[str, Any]) -> dict[str, Any]:
    """What the old task used of its groups."""
    loss = {"loss": old["loss"]} if "loss" in old else {}
    teaching = {"imitate" if name == "kind" else name: value for name, value in old.get("distillation", {}).items()}
    read = {"classification": loss, "distillation": loss | teaching, "simmim": old.get("masking", {})}
    return read.get(str(old["task"]), {})


def _model(old: dict[str, Any], place: str) -> dict[str, Any]:
    """The group `model`, the fields of the model's config by themselves."""
    config = {name: old[name] for name in CONFIG if old.get(name) is not None}
    text = old.get("fields") or "{}"
    try:
        more = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        more = None
    if not isinstance(more, dict):
        raise UserError(f'{place}: model.fields is {text}; it must be a JSON object such as {{"gelu": "erf"}}')
    if type(side := more.get("absolute_position")) is int:
        more["absolute_position"] = [side, side]
    kept = {name: value for name, value in old.items() if name not in (*CONFIG, "fields")}
    return kept | {"config": config | more}


def _check_names(old: dict[str, Any], place: str) -> None:
    known = {*REQUIRED, *DEFAULTS, *CHANGEABLE}
    groups = {name.partition(".")[0] for name in known if "." in name}
    for name, value in old.items():
        if name in groups and not isinstance(value, dict):
            raise UserError(f"{place}: {name} is {json.dumps(value)}; it must be an object with named fields")
    for name in _leaves(old):
        if name not in known:
            raise unknown("field", name, known, see=place)


def _leaves(old: Mapping[str, Any]) -> dict[str, Any]:
    """{"optim": {"lr": 1}} -> {"optim.lr": 1}."""
    found: dict[str, Any] = {}
    for name, value in old.items():
        found |= {f"{name}.{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
    return found


def _typed_as(default: Any, value: Any) -> Any:
    """Turn a whole number into the float that it stood for, also in a list."""
    if isinstance(default, list) and isinstance(value, list):
        return [_typed_as(default[0], each) for each in value] if default else value
    return float(value) if isinstance(default, float) and type(value) is int else value
