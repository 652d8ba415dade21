"""Writes weights under another project's names: the Python of the verb `muntin convert`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from muntin.catalog import FILES, build_config
from muntin.errors import UserError, unknown
from muntin.files import write_file, write_pickle, write_tensors
from muntin.files.npz import write_npz
from muntin.formats.transformers_config import preprocessor_config, transformers_config
from muntin.weights.identify import Identified, empty_model, misfits
from muntin.weights.load_report import LoadReport
from muntin.weights.rewrite import Described, check_all_known, check_free, described, make_folder, read_source, save

LAYOUTS = tuple(dict.fromkeys(layout for files in FILES for layout in files.layouts))  # no family has them all
FOLDERS = ("muntin", "transformers")  # layouts that are a folder with a config.json; all others are one file
SUFFIXES = (".safetensors", ".pth", ".pt", ".npz")


def convert(
    source: str | Path, out: str | Path, *, layout: str, model: str = "", overwrite: bool = False
) -> LoadReport:
    """Write the weights at `source` (file, model folder or run folder, in any known layout) to `out` in another layout.

    layout: one of `LAYOUTS`. "muntin" and "transformers" make a folder with config.json and model.safetensors; the
    others a file, .safetensors or, with the wrapper that its project expects, .pth. The tensors keep their values.
    model: a catalog name, for a Swin V2 whose file does not tell its window.
    Returns what became of every tensor. Raises UserError, with nothing written, for an `out` that exists (but with
    `overwrite`) and for weights that are damaged, incomplete, or have no place in the layout.
    """
    source, out = Path(source), Path(out)
    if layout not in LAYOUTS:
        raise unknown("layout", layout, LAYOUTS)
    if layout not in FOLDERS and out.suffix not in SUFFIXES:
        raise UserError(f"{out} should end in {', '.join(SUFFIXES)}: the {layout} layout is one file")
    check_free(out, overwrite, folder=layout in FOLDERS)
    path, known = read_source(source, model)
    tensors, family = known.found.tensors, known.told.family
    config = build_config(known.named.name, known.named.changes)
    settings = dataclasses.asdict(config)
    _check_written(known, layout, out)
    if layout in (*FOLDERS, "torchvision"):
        check_all_known(path, known)
    filled = empty_model(known.named, known.told, tensors)
    if wrong := misfits(tensors, filled):
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise UserError(f"{path} is no whole {known.named.name}: {wrong[0]}{more}")
    beside = described(known) if layout in FOLDERS else Described((), {}, ())
    otherwise = family.files.otherwise(layout, settings)
    notes = ((otherwise,) if otherwise else ()) + beside.notes
    if layout == "muntin":
        filled.load_state_dict(tensors, assign=True)
        make_folder(out, lambda new: save(new, known.named.name, filled, known.told.kind, beside))
    elif layout == "transformers":
        configs = _transformers_configs(known, config, beside)
        foreign = family.files.write(tensors, layout, settings)
        make_folder(out, lambda new: _write_transformers(new, foreign, configs))
    else:
        foreign = family.files.write(tensors, layout, settings)
        if not known.named.open:
            foreign |= family.buffers(layout, config, known.image_size)
        _write_foreign(out, foreign, family.files.inside.get(layout, ""))
    return _report(known, notes)


def _transformers_configs(known: Identified, config: Any, beside: Described) -> dict[str, Mapping[str, Any]]:
    """The files beside the weights in a folder of transformers. Raises UserError for what they cannot express."""
    family, kind = known.told.family, known.told.kind
    if family.transformers is None:
        raise UserError(f"transformers has no {family.title}; write another layout")
    size = tuple(beside.inputs.get("image_size", known.image_size))
    values = family.transformers(config, kind)
    said = transformers_config(values, in_chans=config.in_chans, image_size=size, classes=beside.classes)
    prepared = {"preprocessor_config.json": preprocessor_config(beside.inputs)} if beside.inputs else {}
    return {"config.json": said, **prepared}


def _check_written(known: Identified, layout: str, out: Path) -> None:
    """Raise UserError for a layout that the family does not have, and for a file type that the layout does not use."""
    files = known.told.family.files
    if layout not in files.layouts:
        raise UserError(f"{known.named.name} has no {layout} layout; choose one of {', '.join(files.layouts)}")
    if layout not in FOLDERS and (layout in files.arrays) != (out.suffix == ".npz"):
        needed = ".npz" if layout in files.arrays else ", ".join(SUFFIXES[:3])
        raise UserError(
            f"{out} should end in {needed}: that is what the {layout} layout of {known.named.name} is kept in"
        )


def _report(known: Identified, notes: tuple[str, ...]) -> LoadReport:
    """The account of a renaming: every tensor is taken, follows from sizes, or was left aside."""
    found = known.found
    remade = {key: why for key, why in found.dropped.items() if why.startswith("follow")}
    dropped = {key: why for key, why in found.dropped.items() if key not in remade}
    if found.wrapped_in:
        notes = (f"the backbone of {found.wrapped_in}", *notes)
    return LoadReport(found.layout, dict.fromkeys(found.tensors, ""), {}, remade, dropped, {}, notes)


# --- writing ---------------------------------------------------------------------------------------------------------


def _write_transformers(folder: Path, tensors: Mapping[str, Tensor], beside: Mapping[str, Mapping[str, Any]]) -> None:
    write_file(folder / "model.safetensors", lambda new: write_tensors(new, tensors))
    for name, values in beside.items():
        text = json.dumps(values, indent=2) + "\n"
        write_file(folder / name, lambda new, text=text: new.write_text(text, encoding="utf-8"))  # type: ignore[misc]


def _write_foreign(out: Path, tensors: Mapping[str, Tensor], inside: str) -> None:
    if out.suffix == ".npz":
        write_file(out, lambda new: write_npz(new, tensors))
        return
    if out.suffix == ".safetensors":
        write_file(out, lambda new: write_tensors(new, tensors))
        return
    own = {key: tensor.detach().clone() for key, tensor in tensors.items()}  # not the whole memory that a view is of
    write_file(out, lambda new: write_pickle(new, {inside: own} if inside else own))
