"""What is written beside weights: sizes and SHA-256 in the config.json of a model folder, and that file's own sum.

    "files": {"model.safetensors": {"bytes": 123, "sha256": "..."}},
    "sha256": "..."       of everything else in config.json

So muntin finds a changed byte in either file. Folders of the first format have no sums and are accepted as they are.
Checkpoints of a run list their files in the same way, in manifest.json.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from muntin.errors import UserError

CONFIG, NEXT_CONFIG, WEIGHTS, MANIFEST = "config.json", ".config.json.next", "model.safetensors", "manifest.json"
FORMAT, FORMATS_BEFORE, FORMAT_WITHOUT_SUMS = "muntin/3", ("muntin/2", "muntin/1"), "muntin/1"
MAX_JSON = 16 << 20  # bytes; 22,000 class names have half a megabyte
_READ = 1 << 20  # bytes at a time


def describe(file: Path) -> dict[str, Any]:
    """{"bytes": its size, "sha256": of its contents}."""
    with file.open("rb") as stream:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def sealed(config: dict[str, Any]) -> dict[str, Any]:
    """The same with its own checksum at the end."""
    return config | {"sha256": _own_sum(config)}


def config_beside(weights: Path) -> dict[str, Any] | None:
    """The description in config.json beside a weights file; None if there is none or it is another project's.

    A save that was interrupted between its two renames has left the new weights and the new description under its first
    name. This description is used if it fits the weights. Raises UserError for a damaged or changed file.
    """
    following = weights.with_name(NEXT_CONFIG)
    if weights.name == WEIGHTS and following.is_file():
        try:
            config = read_config_file(following)
        except UserError:  # not finished, so neither are its weights
            config = {}
        if fits(config, weights):
            return config
    path = weights.with_name(CONFIG)
    if weights.name != WEIGHTS or not path.is_file():
        return None
    config = read_config_file(path)
    if "format" not in config and "kind" not in config:
        return None
    if config.get("format") not in (FORMAT, *FORMATS_BEFORE):
        raise UserError(f"{path} has format '{config.get('format')}'; this version reads '{FORMAT}'")
    return config


def read_config_file(path: Path) -> dict[str, Any]:
    """Read a config.json and verify its own checksum, if its format has one."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_JSON + 1)
        config = json.loads(text) if len(text) <= MAX_JSON else None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is missing or damaged; it must lie beside {WEIGHTS}") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} is no model description; it must be one JSON object of at most {MAX_JSON} bytes")
    if has_sums(config) and config.get("sha256") != _own_sum(config):
        raise UserError(
            f"{path} is damaged, or was changed after it was written: its own checksum differs; take the folder from "
            "its source again"
        )
    return config


def has_sums(config: dict[str, Any]) -> bool:
    """Whether a description is of a format of muntin that records sums."""
    return config.get("format") in (FORMAT, *FORMATS_BEFORE) and config["format"] != FORMAT_WITHOUT_SUMS


def fits(config: dict[str, Any], weights: Path) -> bool:
    """Whether a description records exactly this weights file."""
    files = config.get("files")
    return isinstance(files, dict) and files.get(WEIGHTS) == describe(weights)


def check_recorded(file: Path) -> None:
    """Raise UserError if a config.json or manifest.json records another size or SHA-256 for this file."""
    recorded = _recorded(file)
    if recorded is None:
        return
    expected, source = recorded
    size = file.stat().st_size
    if expected.get("bytes") != size:
        raise UserError(
            f"{file} has {size} bytes, and {expected.get('bytes')} were written ({source}); it is damaged or of "
            "another save: take it from its source again"
        )
    if describe(file) != expected:
        raise UserError(
            f"{file} has other contents than were written (its SHA-256 is not that in {source}); it is damaged: take "
            "it from its source again"
        )


def _recorded(file: Path) -> tuple[dict[str, Any], Path] | None:
    """The entry about a file, and where it stands."""
    config = config_beside(file)
    if config is not None and has_sums(config):
        entry = config["files"].get(file.name) if isinstance(config.get("files"), dict) else None
        if not isinstance(entry, dict):
            raise UserError(f"{file.with_name(CONFIG)} records no size and checksum of {file.name}; it is damaged")
        return entry, file.with_name(CONFIG)
    for folder in file.parents[:2]:  # a step folder, or the model in one
        manifest = folder / MANIFEST
        if manifest.is_file():
            try:
                entry = json.loads(manifest.read_text(encoding="utf-8"))["files"][file.relative_to(folder).as_posix()]
            except KeyError:  # about other files
                return None
            except (OSError, ValueError, TypeError, RecursionError) as error:
                raise UserError(
                    f"{manifest} cannot be read ({error}); the checkpoint is damaged, use another"
                ) from error
            return (entry, manifest) if isinstance(entry, dict) else None
    return None


def _own_sum(config: dict[str, Any]) -> str:
    rest = {key: value for key, value in config.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
