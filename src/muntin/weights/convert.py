"""Weights rewritten: under another project's names (`convert`), or made for another window, size or set of classes
(`adapt`). The Python of the verbs `muntin convert` and `muntin adapt`.

What a bare weights file does not tell, and its new home needs, is taken from here: ImageNet's mean and standard
deviation (their average for one grey channel), the image size of the model's published training, numbered classes.
The report says so.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from muntin.catalog import FAMILIES, as_size, build_config
from muntin.data import PictureInput, inputs_from
from muntin.data.transforms.inputs import IMAGENET_MEAN, IMAGENET_STD
from muntin.errors import UserError, unknown
from muntin.files import flush, read_tensors, write_file, write_tensors
from muntin.files.npz import write_npz
from muntin.formats.index import FILES
from muntin.formats.transformers_config import preprocessor_config, transformers_config
from muntin.layers.patch import grid_size
from muntin.models import Swin, SwinV2
from muntin.models.swin import effective_windows
from muntin.models.swin_v2 import log_spaced_offsets
from muntin.ops.windows import Size, relative_position_index
from muntin.tasks import Classifier
from muntin.weights.class_map import read_class_map
from muntin.weights.create import create_model
from muntin.weights.fit import by, select_classes, zero_head
from muntin.weights.folder import save_model
from muntin.weights.identify import STRUCTURE, Identified, empty_model, identify, misfits
from muntin.weights.load import load_weights, weights_file
from muntin.weights.load_report import LoadReport

LAYOUTS = tuple(dict.fromkeys(layout for files in FILES for layout in files.LAYOUTS))  # no family has them all
FOLDERS = ("muntin", "transformers")  # layouts that are a folder with a config.json; all others are one file
SUFFIXES = (".safetensors", ".pth", ".pt", ".npz")
_OFFICIAL = {"official": "", "dense": "", "simmim": "encoder."}  # layouts of Swin's code, and their prefixes


class Described(NamedTuple):
    """What a model folder says beside its weights."""

    classes: tuple[str, ...]
    preprocess: dict[str, Any]
    notes: tuple[str, ...]  # what was taken from here, because the file does not tell


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
    _check_free(out, overwrite, folder=layout in FOLDERS)
    path, known = _read(source, model)
    tensors, files = known.found.tensors, known.told.family.files
    settings = dataclasses.asdict(build_config(known.named.name, known.named.changes))
    _check_written(known, layout, out)
    notes = _differences(known, layout, settings)
    filled = empty_model(known.named, known.told, tensors)
    if wrong := misfits(tensors, filled):
        raise UserError(f"{path} is no whole {known.named.name}: {wrong[0]}{_and_more(wrong)}")
    if layout in (*FOLDERS, "torchvision"):
        _check_all_known(path, known)
    if layout in FOLDERS:
        described = _described(known)
        notes += described.notes
    if layout == "muntin":
        filled.load_state_dict(tensors, assign=True)
        _make_folder(out, lambda new: _save(new, known.named.name, filled, known.told.kind, described))
    elif layout == "transformers":
        config = transformers_config(
            known.told.family.backbone.__name__,
            build_config(known.named.name, known.named.changes),
            kind=known.told.kind,
            image_size=tuple(described.preprocess.get("image_size", known.image_size)),
            classes=described.classes,
        )
        foreign = files.write(tensors, layout, settings)
        files_beside = {"config.json": config}
        if described.preprocess:
            files_beside["preprocessor_config.json"] = preprocessor_config(described.preprocess)
        _make_folder(out, lambda new: _write_transformers(new, foreign, files_beside))
    else:
        foreign = files.write(tensors, layout, settings)
        backbone = filled.backbone
        if layout == "torchvision" and isinstance(backbone, Swin):
            foreign |= torchvision_buffers(backbone)
        elif layout in _OFFICIAL and isinstance(backbone, SwinV2) and not known.named.also:
            foreign |= _official_buffers(known, backbone, _OFFICIAL[layout])
        _write_foreign(out, foreign, files.INSIDE.get(layout, ""))
    return _report(known, notes)


def adapt(
    source: str | Path,
    out: str | Path,
    *,
    window: int | Size | None = None,
    image_size: int | Size | None = None,
    num_classes: int | None = None,
    in_chans: int | None = None,
    class_map: str | Path | None = None,
    rule: Literal["auto", "bicubic", "geometric"] = "auto",
    freeze_bias: bool = False,
    model: str = "",
    overwrite: bool = False,
) -> LoadReport:
    """Write the classifier at `source` to the model folder `out`, made for something else than it was trained for.

    window: tokens, side or height and width; bias tables are resized by `rule` ("auto": geometric for SimMIM's files,
    bicubic for others), a log-CPB keeps the scale it was trained on. image_size: pixels, of its preprocessing, and of
    an absolute embedding where it has one. num_classes: a head of zeros, to be trained. class_map: file with the rows
    of the old head that the new classes take. in_chans: input channels. freeze_bias: the log-CPB as a plain table.
    model: as in `convert`. Returns what became of every tensor. Raises UserError with nothing written.
    """
    source, out = Path(source), Path(out)
    if (window, image_size, num_classes, in_chans, class_map, freeze_bias) == (None, None, None, None, None, False):
        raise UserError("nothing to adapt: say window, image size, classes, input channels or the frozen bias")
    _check_free(out, overwrite, folder=True)
    path, known = _read(source, model)
    _check_all_known(path, known)
    rows = read_class_map(class_map) if class_map is not None else None
    if rows is not None and num_classes not in (None, len(rows)):
        raise UserError(f"{class_map} lists {len(rows)} classes, and num_classes is {num_classes}; give one of them")
    if not known.told.num_classes and not num_classes:
        raise UserError(f"{path} has no classes (it is a {known.told.kind}); give the number that it is to have")

    described = _described(known)
    preprocess = inputs_from(described.preprocess) if described.preprocess else None
    trained_size = preprocess.image_size if preprocess else known.image_size
    size = as_size(image_size, 2) if image_size is not None else trained_size
    config = build_config(known.named.name, known.named.changes)
    changes = dict(known.named.changes)
    changes |= {"window": as_size(window, 2)} if window is not None else {}
    changes |= {"in_chans": in_chans} if in_chans is not None else {}
    if getattr(config, "absolute_position", None):
        changes |= {"absolute_position": grid_size(size, config.patch)}
    elif hasattr(config, "grid"):
        with torch.device("meta"):
            stride = known.told.family.backbone(config, 0.0).strides[-1]  # type: ignore[index]
        changes |= {"grid": tuple(side // s for side, s in zip(size, stride))}

    classes = known.told.num_classes or num_classes or 0
    adapted = create_model(known.named.name, num_classes=classes, **changes)
    scale = effective_windows(config, trained_size) if issubclass(known.told.family.backbone, SwinV2) else None
    headless = not known.told.num_classes
    report = load_weights(adapted, path, replace_head=headless, resize=rule, assume_scale=scale)
    adapted, names, report = _with_classes(adapted, described.classes, num_classes, rows, headless, report)
    if freeze_bias:
        if not isinstance(adapted.backbone, SwinV2):
            table = ", whose position bias is a table already" if isinstance(adapted.backbone, Swin) else ""
            raise UserError(f"{path} is a {known.told.family.backbone.__name__}{table}; leave freeze_bias out")
        adapted.backbone.freeze_position_bias(trained_size)
        report = report._replace(notes=(*report.notes, "the position bias is frozen into tables"))

    values, notes = _preprocess(in_chans or config.in_chans, size, described.preprocess)
    if described.notes:  # on what the file did not tell: said of what has become of it
        notes = (notes or (_note_on_pixels(values),)) + _note_on_names(names)
    described = Described(names, values, notes)
    _make_folder(out, lambda new: _save(new, known.named.name, adapted, "classifier", described))
    return report._replace(notes=(*report.notes, *described.notes))


def torchvision_buffers(backbone: Swin) -> dict[str, Tensor]:
    """What follows from sizes and torchvision's files hold all the same; without it, its models load no file strictly.

    Raises UserError for a position bias trained with other windows than those in use, which torchvision cannot say.
    """
    windows = tuple(stage[0].window for stage in backbone.attentions())
    scales = (backbone.scale() or windows) if isinstance(backbone, SwinV2) else None
    if scales and scales != windows:
        raise UserError(
            f"the position bias was trained with windows {' '.join(map(by, scales))} and is used with "
            f"{' '.join(map(by, windows))}; torchvision cannot say so: write another layout"
        )
    buffers = _position_buffers("features.{odd}.{block}.attn.", backbone.config.depths, windows, scales)
    return {key: t.flatten() if key.endswith("index") else t for key, t in buffers.items()}


def _official_buffers(known: Identified, backbone: SwinV2, prefix: str) -> dict[str, Tensor]:
    """What an official Swin V2 keeps of its windows and their scale; nothing else in such a file tells them."""
    windows = effective_windows(backbone.config, known.image_size)
    depths, scales = backbone.config.depths, backbone.scale() or windows
    return _position_buffers(f"{prefix}layers.{{stage}}.blocks.{{block}}.attn.", depths, windows, scales)


def _position_buffers(
    name: str, depths: tuple[int, ...], windows: tuple[Size, ...], scales: tuple[Size, ...] | None
) -> dict[str, Tensor]:
    """Index of every pair of a window and, with scales, the coordinates of every offset, for all blocks."""
    cpu, buffers = torch.device("cpu"), {}
    for stage, (depth, window) in enumerate(zip(depths, windows)):
        for block in range(depth):
            prefix = name.format(stage=stage, odd=2 * stage + 1, block=block)
            buffers[f"{prefix}relative_position_index"] = relative_position_index(window, cpu)
            if scales:
                offsets = log_spaced_offsets(window, scales[stage], torch.float32, cpu)
                buffers[f"{prefix}relative_coords_table"] = offsets.view(1, *(2 * w - 1 for w in window), len(window))
    return buffers


def _read(source: Path, model: str) -> tuple[Path, Identified]:
    path = weights_file(source)
    return path, identify(read_tensors(path), path, model)


def _check_free(out: Path, overwrite: bool, *, folder: bool) -> None:
    if out.exists() and not overwrite:
        raise UserError(f"{out} exists; choose another place, or replace it with --overwrite (overwrite=True)")
    if out.exists() and out.is_dir() != folder:
        there, needed = ("file", "folder") if folder else ("folder", "file")
        raise UserError(f"{out} is a {there}, and a {needed} is to be written; choose another place")


def _check_written(known: Identified, layout: str, out: Path) -> None:
    """Raise UserError for a layout that the family does not have, and a file that the layout is not kept in."""
    files = known.told.family.files
    if layout not in ("muntin", *files.WRITABLE):
        raise UserError(
            f"{known.named.name} has no {layout} layout; choose one of {', '.join(('muntin', *files.WRITABLE))}"
        )
    arrays = getattr(files, "ARRAYS", ())
    if layout not in FOLDERS and (layout in arrays) != (out.suffix == ".npz"):
        needed = ".npz" if layout in arrays else ", ".join(SUFFIXES[:3])
        raise UserError(
            f"{out} should end in {needed}: that is what the {layout} layout of {known.named.name} is kept in"
        )


def _check_all_known(path: Path, known: Identified) -> None:
    """Raise UserError where the file leaves open what no tensor shows: windows, or heads of a size of one's own."""
    silent = "heads" not in known.told.fields and hasattr(build_config(known.named.name, {}), "heads")
    if silent and not known.config and not known.named.changes.keys().isdisjoint(STRUCTURE):
        raise UserError(
            f"{path} does not tell its number of attention heads, and is of no published size; convert the model "
            "folder or run that it came from, whose config.json names it"
        )
    if known.named.also and not known.named.changes.keys().isdisjoint(STRUCTURE):
        raise UserError(
            f"{path} does not tell its windows, and is of no published size; convert the model folder or run that it "
            "came from, whose config.json names them"
        )
    if known.named.also:
        names = (known.named.name, *known.named.also)
        raise UserError(
            f"{path} does not tell its windows, and fits {', '.join(names)}; say which it is with --model (model=...)"
        )


def _differences(known: Identified, layout: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """What code of the layout computes otherwise, unless it is told. -> notes."""
    if layout in ("timm", "simmim", "deit3") and settings.get("gelu") == "tanh":
        return ("the model has the approximate GELU, and timm's the exact one unless made with act_layer='gelu_tanh'",)
    if layout == "transformers" and known.told.family is FAMILIES["cvt"]:
        return ("CvT has QuickGELU, and transformers computes it with the exact GELU",)
    return ()


def _with_classes(
    model: Classifier,
    names: tuple[str, ...],
    num_classes: int | None,
    rows: tuple[int, ...] | None,
    headless: bool,
    report: LoadReport,
) -> tuple[Classifier, tuple[str, ...], LoadReport]:
    """The model with its new head, the names of its classes, and the report with what became of the head."""
    old = model.num_classes
    if rows is not None:
        state, why = select_classes(model.state_dict(), rows), f"{len(rows)} of {old} classes, by the given list"
        names = tuple(names[row] for row in rows)
    elif num_classes is not None and (headless or num_classes != old):
        state, why = zero_head(model.state_dict(), num_classes), f"a head of zeros for {num_classes} classes"
        names = numbered(num_classes)
    else:
        return model, names, report
    model.reset_classifier(len(names))
    model.load_state_dict(state)
    heads = {key: why for key in state if key.startswith("readout.head")}
    fate = "resized" if rows is not None else "reinitialised"
    taken = {key: reason for key, reason in report.taken.items() if key not in heads}
    return model, names, report._replace(taken=taken, **{fate: getattr(report, fate) | heads})


def numbered(classes: int) -> tuple[str, ...]:
    """Names for classes that have none."""
    return tuple(map(str, range(classes)))


def _described(known: Identified) -> Described:
    """What config.json says, or what stands in for it."""
    classes = known.classes or numbered(known.told.num_classes)
    if known.config and known.config["preprocess"]:
        return Described(classes, inputs_from(known.config["preprocess"]).to_dict(), ())
    values, notes = _preprocess(known.told.fields["in_chans"], known.image_size, {}, known.pixels)
    return Described(classes, values, notes + (_note_on_names(classes) if not known.classes else ()))


def _note_on_names(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Said where classes have numbers for names."""
    return (f"class names: numbers, 0 to {len(classes) - 1}",) if classes and classes == numbered(len(classes)) else ()


def _note_on_pixels(values: Mapping[str, Any], whose: str = "") -> str:
    (height, width), mean, std = values["image_size"], list(values["mean"]), list(values["std"])
    return f"preprocessing: {whose}mean {mean} and std {std}, {height} x {width} pixels"


def _preprocess(
    channels: int,
    size: Size,
    known: Mapping[str, Any],
    pixels: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Preprocessing of a model folder for so many channels and this size, and notes on what the file did not tell.

    known: from its model folder. pixels: mean and standard deviation that its project takes.
    """
    if channels not in (1, 3):
        return {}, (f"preprocessing: none, pictures here have 1 or 3 channels and the model takes {channels}",)
    if known and len(known["mean"]) == channels:
        return inputs_from(dict(known) | {"image_size": list(size)}).to_dict(), ()
    told = (known["mean"], known["std"]) if known else pixels
    both = told or (IMAGENET_MEAN, IMAGENET_STD)
    mean, std = (list(v) if len(v) == channels else [round(sum(v) / len(v), 3)] * channels for v in both)
    values = PictureInput().to_dict() | dict(known) | {"image_size": list(size), "mean": mean, "std": std}
    whose = "" if told else "ImageNet's "
    return inputs_from(values).to_dict(), (_note_on_pixels(values, whose),)


def _save(folder: Path, name: str, model: nn.Module, kind: str, described: Described) -> None:
    save_model(folder, name, model, kind=kind, classes=described.classes, preprocess=described.preprocess)


def _report(known: Identified, notes: tuple[str, ...]) -> LoadReport:
    """The account of a renaming: everything is taken, follows from sizes, or was left aside."""
    found = known.found
    remade = {key: why for key, why in found.dropped.items() if why.startswith("follow")}
    dropped = {key: why for key, why in found.dropped.items() if key not in remade}
    if found.wrapped_in:
        notes = (f"the backbone of {found.wrapped_in}", *notes)
    return LoadReport(found.layout, dict.fromkeys(found.tensors, ""), {}, remade, dropped, {}, notes)


def _and_more(problems: list[str]) -> str:
    return f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""


# --- writing ---------------------------------------------------------------------------------------------------------


def _make_folder(out: Path, fill: Callable[[Path], None]) -> None:
    """Fill a new folder that then gets its name; one that is there keeps its other files."""
    if out.exists():
        fill(out)
        return
    new = out.parent / f".{out.name}.next"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        fill(new)
        flush(new)
        new.rename(out)
        flush(out.parent)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


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
    write_file(out, lambda new: torch.save({inside: own} if inside else own, new))
