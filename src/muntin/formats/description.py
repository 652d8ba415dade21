"""What the config.json beside a weights file tells about its tensors: ours, or that of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from muntin.errors import UserError
from muntin.files.sums import CONFIG, config_beside, read_config_file

from .layout import Files, Pixels
from .told import plain, sides

_TRANSFORMERS, _PREPROCESSOR = ("model.safetensors", "pytorch_model.bin"), "preprocessor_config.json"


class Description(NamedTuple):
    """Names of classes, picture size, settings; None and () where the file does not tell them."""

    classes: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None  # pixels, as transformers says it
    settings: Mapping[str, Any] = {}  # fields of the config
    pixels: Pixels | None = None  # mean and standard deviation of each channel


def describe(weights: Path, files: Files, tensors: Mapping[str, Tensor]) -> Description:
    """What config.json beside the weights tells; nothing if there is none.

    files: of the weights' family. tensors: under our names. Raises UserError if it is ours and damaged, and if
    transformers computes with an activation that muntin does not have.
    """
    ours = config_beside(weights)
    if ours is not None:
        settings = plain(ours.get("settings"), files.settings) | files.told_by_ours(ours, tensors)
        return Description(_names(ours.get("classes")), settings=settings)
    path = weights.with_name(CONFIG)
    if weights.name not in _TRANSFORMERS or not path.is_file():
        return Description()
    theirs = read_config_file(path)
    try:
        settings = files.told_by_transformers(theirs, tensors)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    labels = theirs.get("id2label")
    numbered = [labels.get(str(i)) for i in range(len(labels))] if isinstance(labels, dict) else None
    (size,) = sides([theirs.get("image_size")], 1) or (None,)
    return Description(_names(numbered), size, settings, _pixels(weights.with_name(_PREPROCESSOR)))


def _names(value: Any) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, list) and all(isinstance(name, str) for name in value) else ()


def _pixels(path: Path) -> Pixels | None:
    """What the preprocessor of transformers beside its config.json says; None if it says nothing useful."""
    if not path.is_file():
        return None
    told = read_config_file(path)
    mean, std = (told.get(name) for name in ("image_mean", "image_std"))
    for values in (mean, std):
        if not isinstance(values, list) or not all(type(v) in (int, float) for v in values):
            return None
    return (tuple(mean), tuple(std)) if len(mean) == len(std) else None  # type: ignore[arg-type]
