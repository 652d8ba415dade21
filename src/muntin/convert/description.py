"""What the config.json beside a weights file tells about its tensors: ours, or that of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from muntin.disk.records import CONFIG, config_beside, read_config_file

_GELU = {"gelu": "erf", "gelu_pytorch_tanh": "tanh", "gelu_new": "tanh"}
_TRANSFORMERS = ("model.safetensors", "pytorch_model.bin")


class Description(NamedTuple):
    """Windows, one a stage, names of classes, picture size; None and () where the file does not tell them."""

    windows: tuple[tuple[int, int], ...] | None = None  # V2: those really used in training
    pretrained_window: tuple[tuple[int, int], ...] | None = None  # V2: the scale of its position bias, once fixed
    classes: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None  # pixels, as transformers says it
    settings: Mapping[str, Any] = {}  # ViT: fields of the config that its tensors do not tell


def describe(weights: Path, stages: int) -> Description:
    """What config.json beside the weights tells; nothing where there is none, or none of a model of so many stages.

    Raises UserError where it is ours and damaged.
    """
    ours = config_beside(weights)
    if ours is not None:
        fields = ours["config"] if isinstance(ours.get("config"), dict) else {}
        windows = _sizes(ours.get("trained_windows"), stages) or _sizes(fields.get("window"), stages)
        scale, settings = _sizes(fields.get("pretrained_window"), stages), _ours(ours.get("settings"))
        return Description(windows, scale, _names(ours.get("classes")), settings=settings)
    if weights.name not in _TRANSFORMERS or not weights.with_name(CONFIG).is_file():
        return Description()
    theirs = read_config_file(weights.with_name(CONFIG))
    scale, labels = _sizes(theirs.get("pretrained_window_sizes"), stages), theirs.get("id2label")
    numbered = [labels.get(str(i)) for i in range(len(labels))] if isinstance(labels, dict) else None
    (size,) = _sizes([theirs.get("image_size")], 1) or (None,)
    return Description(_used_windows(theirs, stages), scale, _names(numbered), size, _settings(theirs))


def _names(value: Any) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, list) and all(isinstance(name, str) for name in value) else ()


def _ours(settings: Any) -> dict[str, Any]:
    known = {"gelu": str, "position_resample": str, "heads": int, "readout": str}
    told = settings if isinstance(settings, dict) else {}
    return {name: told[name] for name, kind in known.items() if type(told.get(name)) is kind}


def _settings(theirs: dict[str, Any]) -> dict[str, Any]:
    if theirs.get("model_type") not in ("vit", "deit"):
        return {}
    told = {"gelu": _GELU.get(str(theirs.get("hidden_act"))), "heads": theirs.get("num_attention_heads")}
    return {name: value for name, value in told.items() if value and type(value) in (str, int)}


def _used_windows(theirs: dict[str, Any], stages: int) -> tuple[tuple[int, int], ...] | None:
    """The windows of a Swin V2 of transformers, square: maps lower than the window shrink it."""
    names = ("window_size", "image_size", "patch_size")
    if theirs.get("model_type") != "swinv2" or not (told := _sizes([theirs.get(name) for name in names], len(names))):
        return None
    (window, _), (height, _), (patch, _) = told
    return _sizes([min(window, height // patch // 2**stage) for stage in range(stages)], stages)


def _sizes(value: Any, stages: int) -> tuple[tuple[int, int], ...] | None:
    """Sides or sizes, one a stage. transformers writes 0 for the window in use."""
    if not isinstance(value, list) or len(value) != stages:
        return None
    pairs = [[side, side] if type(side) is int else side for side in value]
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(type(side) is int and side > 0 for side in pair):
            return None
    return tuple((height, width) for height, width in pairs)
