"""What the config.json beside a weights file tells about its tensors: ours, or that of transformers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from muntin.errors import UserError
from muntin.files.sums import CONFIG, config_beside, read_config_file

# fields of a config that no tensor tells, in one family or another
SETTINGS = (
    *("gelu", "position_resample", "heads", "readout"),  # ViT
    *("embed_stride", "embed_padding", "kv_stride"),  # CvT
    *("activation", "activations"),  # the steps from ResNet to ConvNeXt
)

_GELU = {"gelu": "erf", "gelu_python": "erf", "gelu_pytorch_tanh": "tanh", "gelu_new": "tanh", "gelu_fast": "tanh"}
_EXACT = ("swin", "swinv2", "convnext")  # model types that have a hidden_act, and here the exact GELU alone
_VIT = ("vit", "deit", "vit_mae", "vit_msn")
_CVT = {
    "heads": "num_heads",
    "kv_stride": "stride_kv",
    "embed_stride": "patch_stride",
    "embed_padding": "patch_padding",
}
_TRANSFORMERS, _PREPROCESSOR = ("model.safetensors", "pytorch_model.bin"), "preprocessor_config.json"


class Description(NamedTuple):
    """Windows, one a stage, names of classes, picture size; None and () where the file does not tell them."""

    windows: tuple[tuple[int, int], ...] | None = None  # V2: those really used in training
    pretrained_window: tuple[tuple[int, int], ...] | None = None  # V2: the scale of its position bias, once fixed
    classes: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None  # pixels, as transformers says it
    settings: Mapping[str, Any] = {}  # out of SETTINGS
    pixels: tuple[tuple[float, ...], tuple[float, ...]] | None = None  # mean and standard deviation of each channel


def describe(weights: Path, stages: int) -> Description:
    """What config.json beside the weights tells; nothing where there is none, or none of a model of so many stages.

    Raises UserError where it is ours and damaged, and where transformers computes with an activation that ours has not.
    """
    ours = config_beside(weights)
    if ours is not None:
        fields = ours["config"] if isinstance(ours.get("config"), dict) else {}
        windows = _sizes(ours.get("trained_windows"), stages) or _sizes(fields.get("window"), stages)
        scale, settings = _sizes(fields.get("pretrained_window"), stages), _told(ours.get("settings"), SETTINGS)
        return Description(windows, scale, _names(ours.get("classes")), settings=settings)
    if weights.name not in _TRANSFORMERS or not weights.with_name(CONFIG).is_file():
        return Description()
    theirs = read_config_file(weights.with_name(CONFIG))
    scale, labels = _sizes(theirs.get("pretrained_window_sizes"), stages), theirs.get("id2label")
    numbered = [labels.get(str(i)) for i in range(len(labels))] if isinstance(labels, dict) else None
    (size,) = _sizes([theirs.get("image_size")], 1) or (None,)
    settings, pixels = _settings(theirs, weights.with_name(CONFIG)), _pixels(weights.with_name(_PREPROCESSOR))
    return Description(_used_windows(theirs, stages), scale, _names(numbered), size, settings, pixels)


def _names(value: Any) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, list) and all(isinstance(name, str) for name in value) else ()


def _told(values: Any, names: Iterable[str]) -> dict[str, Any]:
    """Those of the names that are told as a word, a whole number, or whole numbers one a stage."""
    told = values if isinstance(values, dict) else {}
    plain = {name: tuple(v) if isinstance(v := told.get(name), list) else v for name in names}
    return {name: value for name, value in plain.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    return type(value) in (str, int) or (type(value) is tuple and all(type(side) is int for side in value))


def _settings(theirs: dict[str, Any], path: Path) -> dict[str, Any]:
    kind, activation = theirs.get("model_type"), theirs.get("hidden_act", "gelu")
    if kind == "cvt":
        told = _told(theirs, _CVT.values())
        return {ours: told[name] for ours, name in _CVT.items() if name in told}
    if kind not in (*_VIT, *_EXACT):
        return {}
    gelu = _GELU.get(activation) if isinstance(activation, str) else None
    if gelu is None or (kind in _EXACT and gelu != "erf"):
        raise UserError(
            f"{path}: these weights are of a {kind} with hidden_act {activation!r}, which it does not have in muntin; "
            "they would load and give other numbers"
        )
    if kind in _EXACT:
        return {}
    heads = _told(theirs, ("num_attention_heads",))
    return {"gelu": gelu, **({"heads": heads["num_attention_heads"]} if heads else {})}


def _pixels(path: Path) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """What the preprocessor of transformers beside its config.json says, None where it says nothing of use."""
    if not path.is_file():
        return None
    told = read_config_file(path)
    mean, std = (told.get(name) for name in ("image_mean", "image_std"))
    for values in (mean, std):
        if not isinstance(values, list) or not all(type(v) in (int, float) for v in values):
            return None
    return (tuple(mean), tuple(std)) if len(mean) == len(std) else None  # type: ignore[arg-type]


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
