"""Loads a weights file or folder into a model, with an account of every tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from torch import Tensor, nn

from muntin.catalog import Family, family_of
from muntin.errors import UserError, unknown
from muntin.files import read_tensors
from muntin.formats.description import describe
from muntin.formats.layout import OURS_ALONE, Foreign
from muntin.tasks import Classifier
from muntin.weights.fit import RULES, Change, Rule, fit, select_classes
from muntin.weights.load_report import LoadReport as LoadReport
from muntin.weights.read import files_of, read

Resize = Literal["", "auto", "bicubic", "geometric"]

_HEADS = ("readout.head.", "readout.head_distilled.")
_REPRESENTATION = "readout.representation."
_PRETRAINING = {"mask_token": "used by pre-training alone", "decoder.": "used by pre-training alone"}


def load_weights(
    model: Classifier,
    weights: str | Path,
    *,
    replace_head: bool = False,
    class_rows: Sequence[int] = (),
    resize: Resize = "",
    assumed: Mapping[str, Any] = MappingProxyType({}),
) -> LoadReport:
    """Load a file or folder into a classifier, strictly.

    A model without classes (pooled features) leaves the file's head aside.
    replace_head: a head of other classes, or a pre-training file without one, is no error: the new head keeps its fresh
    values, the old one is left aside. Mask token and decoder of SimMIM always are. All else must fit.
    class_rows: rows of the file's head that the model's classes take, one each; none: all, as they are.
    resize: what to do with bias tables of another window, an absolute embedding of another resolution, and patch
    kernels of other input channels. "": refuse. "auto": resize, tables by SimMIM's rule for files of its pre-training,
    by the bicubic rule for others. "bicubic", "geometric": resize, tables by this rule.
    assumed: fields of the config that count as told if neither file nor model tells them (`Family.trained`).
    Raises UserError for a file that does not fit, before anything is loaded.
    """
    path = weights_file(weights)
    backbone: nn.Module = model.backbone  # type: ignore[assignment]
    found = read_foreign(path, backbone)
    if class_rows:
        if len(class_rows) != model.num_classes:
            raise UserError(f"{len(class_rows)} rows of a head for {model.num_classes} classes; give one a class")
        found = found._replace(tensors=select_classes(found.tensors, class_rows))
    own = model.state_dict()
    heads = {k for k in own if k.startswith(_HEADS)}
    # a head of as many classes is never replaced: where it does not fit, something is wrong with it
    replace_head &= not any(k in found.tensors and found.tensors[k].shape[:1] == own[k].shape[:1] for k in heads)
    aside, fresh = dict(_PRETRAINING), dict[str, str]()
    if not heads:
        aside |= dict.fromkeys(_HEADS, "the model has no head")
    elif replace_head:
        aside |= dict.fromkeys(_HEADS, f"the model has {model.num_classes} classes")
        fresh |= dict.fromkeys(heads, f"a fresh head of {model.num_classes} classes")
    if (replace_head or not heads) and not any(k.startswith(_REPRESENTATION) for k in own):
        aside[_REPRESENTATION] = "belongs to the head of pre-training"
    theirs, ours = found.settings.get("readout"), _settings(backbone).get("readout")
    other = theirs and ours and theirs != ours
    if heads and not replace_head and other:
        raise UserError(
            f"{path} was trained with readout='{theirs}' and this model uses '{ours}'; build it with readout='{theirs}'"
        )
    if other or ("mask_token" in found.tensors and model.readout.norms_mean):
        aside["readout.norm."] = "normalised something else than what is classified"
        fresh |= dict.fromkeys((k for k in own if k.startswith("readout.norm.")), "a fresh norm")
    report = _load(model, backbone, found, path, aside, fresh, resize, assumed)
    chosen = dict.fromkeys(heads if class_rows else (), f"{len(class_rows)} classes chosen from the file's head")
    taken = {k: why for k, why in report.taken.items() if k not in chosen}
    return report._replace(taken=taken, resized=report.resized | chosen)


def load_backbone(
    backbone: nn.Module,
    weights: str | Path,
    *,
    resize: Resize = "",
    assumed: Mapping[str, Any] = MappingProxyType({}),
) -> LoadReport:
    """Load the backbone of a classifier, dense or pre-training file, strictly; heads and last norms are left aside.

    resize, assumed: as in `load_weights`.
    """
    path = weights_file(weights)
    model = nn.ModuleDict({"backbone": backbone})
    aside = _PRETRAINING | dict.fromkeys(("readout.", "norms."), "not part of the backbone")
    return _load(model, backbone, read_foreign(path, backbone), path, aside, {}, resize, assumed)


def load_kept(model: nn.Module, folder: str | Path) -> LoadReport:
    """Load a model folder or run folder into the module that its task keeps, strictly."""
    path, backbone = weights_file(folder), model.backbone
    found = read_foreign(path, backbone)  # type: ignore[arg-type]
    tensors = {k.removeprefix("readout.") if k.startswith("readout.norm.") else k: v for k, v in found.tensors.items()}
    if "norm.weight" in model.state_dict():
        found = found._replace(tensors=tensors)
    return _load(model, backbone, found, path, {}, {}, "", None)  # type: ignore[arg-type]


def read_foreign(path: Path, backbone: nn.Module) -> Foreign:
    """What a file holds under our names, and what the config.json beside it tells.

    SimMIM stores beside its backbone the norm that a classifier's readout has.
    """
    tensors, family, config = read_tensors(path), family_of(backbone), backbone.config
    with _naming(path):
        found = read(tensors, getattr(config, family.grid) if family.grid else None)  # type: ignore[arg-type]
    tensors = {("readout." + k if k in ("norm.weight", "norm.bias") else k): v for k, v in found.tensors.items()}
    settings = describe(path, files_of(tensors) or OURS_ALONE, tensors).settings
    # a window that is not square shows in no table: those of our own files are in their config.json or are square
    settings = settings if found.layout == "muntin" else {**found.settings, **settings}
    return found._replace(tensors=tensors, settings=settings)


def _load(
    model: nn.Module,
    backbone: nn.Module,
    found: Foreign,
    path: Path,
    aside: Mapping[str, str],
    fresh: Mapping[str, str],
    resize: Resize,
    assumed: Mapping[str, Any],
) -> LoadReport:
    """Load strictly: every tensor must fit, except those of the file under `aside` and those of the model in
    `fresh`.
    """
    if resize not in ("", "auto", *RULES):
        raise unknown("resize", str(resize), ("auto", *RULES))
    own = model.state_dict()
    if any(tensor.is_meta for tensor in own.values()):
        raise UserError(
            "the model is on the meta device, which keeps no values; give it memory by to_empty(device=...)"
        )
    dropped = {k: why for k in found.tensors for start, why in aside.items() if k.startswith(start)}
    used = {k: v for k, v in found.tensors.items() if k not in dropped}
    family, config = family_of(backbone), backbone.config
    _check_family(own, used, path)
    with _naming(path):
        used = family.files.spread(used, own)
        told = {**_settings(backbone), **found.settings}
        changes = fit(used, own, family, config, _rule(resize, found.tensors), told)
    _check_fixed(family, changes, path)
    if changes and not resize:
        raise UserError(_other_shape(path, changes))
    used |= {k: change.tensor for k, change in changes.items()}
    missing = [k for k in own if k not in used]
    problems = [k for k in used if k not in own] + [k for k in missing if k not in fresh]
    problems += [k for k, v in used.items() if k in own and v.shape != own[k].shape]
    if problems:
        raise UserError(_misfit(path, found, problems, used, own))
    told = {name: value for name, value in found.settings.items() if name != "readout"}  # no matter of the backbone
    with _naming(path):
        notes = family.adopt(backbone, told, assumed)
    model.load_state_dict(used, strict=False)

    remade = {k: why for k, why in found.dropped.items() if why.startswith("follow")}
    return LoadReport(
        layout=found.layout,
        taken=dict.fromkeys((k for k in used if k not in changes), ""),
        resized={k: change.why for k, change in changes.items()},
        remade=remade,
        dropped=dropped | {k: why for k, why in found.dropped.items() if k not in remade},
        reinitialised={k: fresh[k] for k in missing},
        notes=((f"the backbone of {found.wrapped_in}",) if found.wrapped_in else ()) + notes,
    )


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Inside, errors about tensors name the file first."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _rule(resize: Resize, tensors: Mapping[str, Tensor]) -> Rule:
    if resize in RULES:
        return resize  # type: ignore[return-value]
    return "geometric" if resize and "mask_token" in tensors else "bicubic"


def _settings(backbone: nn.Module) -> dict[str, Any]:
    """The fields of a model's config that no tensor tells."""
    return {name: getattr(backbone.config, name) for name in family_of(backbone).files.settings}


# --- why a file does not fit -----------------------------------------------------------------------------------------


def _check_family(own: Mapping[str, Tensor], used: Mapping[str, Tensor], path: Path) -> None:
    """Raise UserError naming a file of another family, or of another kind of the same one."""
    held, needed = files_of(used), files_of(own)
    if used and held is not needed and held and needed:
        raise UserError(f"{path} holds a {held.title} and the model is a {needed.title}; give weights of its kind")
    if needed and used and (why := needed.mismatch(used, own)):
        raise UserError(f"{path} {why}")


def _check_fixed(family: Family, changes: Mapping[str, Change], path: Path) -> None:
    """Raise UserError for tables that serve only the windows they were computed for."""
    tables = family.tables
    resized = next((change.why for change in changes.values() if tables and change.what == tables.option), None)
    if resized and tables and tables.fixed:
        raise UserError(
            f"the position bias of {path} is frozen for other windows than the model's ({resized.partition(',')[0]}); "
            "take the weights from before it was frozen"
        )


def _other_shape(path: Path, changes: Mapping[str, Change]) -> str:
    key, change = next(iter(changes.items()))
    flags = " ".join(dict.fromkeys(f"--{c.what.replace('_', '-')} ..." for c in changes.values()))
    return (
        f"{path} does not fit as it is: {key} needs adapting ({change.why}); load it with resize='auto', or write an "
        f"adapted model with: muntin adapt {path} OUT {flags}"
    )


def _misfit(
    path: Path, found: Foreign, problems: list[str], used: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> str:
    key = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    what = f"{path} ({found.layout} layout)"
    if key in used and key in own:
        ours, theirs = tuple(own[key].shape), tuple(used[key].shape)
        if key.startswith(_HEADS) and theirs and theirs[0] != ours[0]:
            return (
                f"{path} was trained for {theirs[0]} classes, the model has {ours[0]}; "
                "use the file's number, or fine-tune to replace the head"
            )
        return f"{what} does not fit the model: {key} is {theirs} in the file and {ours} in the model{more}"
    where = "is in the file but not in the model" if key in used else "is missing from the file"
    return f"{what} does not fit the model: {key} {where}{more}; is it another variant?"


def weights_file(weights: str | Path) -> Path:
    """The file meant by a file, a model folder (model.safetensors) or a run folder (model/model.safetensors)."""
    path = Path(weights)
    if not path.exists():
        raise UserError(f"there is no model at {path}; give a run folder, a model folder or a weights file")
    if path.is_dir():
        for candidate in (path / "model.safetensors", path / "model" / "model.safetensors"):
            if candidate.is_file():
                return candidate
        raise UserError(f"{path} holds no model.safetensors; give a run folder, a model folder or a weights file")
    return path
