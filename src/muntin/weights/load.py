"""From a weights file or folder into a model, with an account of every tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from muntin.errors import UserError, unknown
from muntin.files import read_tensors
from muntin.formats import index as families
from muntin.formats.description import describe
from muntin.formats.index import Foreign
from muntin.heads import MeanNormReadout
from muntin.layers.position import GridEmbedding
from muntin.models import Swin, SwinV2, ViT
from muntin.models.beit import BEiT
from muntin.ops.resample import Resample
from muntin.ops.windows import Size
from muntin.tasks import Classifier
from muntin.weights.fit import RULES, Change, Rule, by, fit, select_classes, spread_bias
from muntin.weights.load_report import LoadReport as LoadReport

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
    assume_scale: tuple[Size, ...] | None = None,
) -> LoadReport:
    """Load a file or folder into a classifier, strictly.

    A model without classes (pooled features) leaves the file's head aside.
    replace_head: a head of other classes, or a pre-training file without one, is no error: the new head keeps its
    fresh values, the old one is left aside. Mask token and decoder of SimMIM always are. All else must fit.
    class_rows: rows of the file's head that the model's classes take, one each; none: all, as they are.
    resize: what to do with bias tables of another window, an absolute embedding of another resolution, and patch
    kernels of other input channels. "": refuse. "auto": resize, tables by SimMIM's rule where the file is one of its
    pre-training, by the bicubic rule elsewhere. "bicubic", "geometric": resize, tables by this rule.
    assume_scale: windows, one a stage, that a position bias of V2 counts as trained with where neither file nor model
    tell; default: those of the file, or else those in use.
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
    reads, read = found.settings.get("readout"), getattr(backbone.config, "readout", None)
    if heads and not replace_head and reads and read and reads != read:
        raise UserError(f"{path} is read by '{reads}' and the model by '{read}'; build it with readout='{reads}'")
    of_cells = "mask_token" in found.tensors and isinstance(model.readout, MeanNormReadout)
    if of_cells or (reads and read and reads != read):
        aside["readout.norm."] = "normalised something else than what is classified"
        fresh |= dict.fromkeys((k for k in own if k.startswith("readout.norm.")), "a fresh norm")
    report = _load(model, backbone, found, path, aside, fresh, resize, assume_scale)
    chosen = dict.fromkeys(heads if class_rows else (), f"{len(class_rows)} classes chosen from the file's head")
    taken = {k: why for k, why in report.taken.items() if k not in chosen}
    return report._replace(taken=taken, resized=report.resized | chosen)


def load_backbone(
    backbone: nn.Module, weights: str | Path, *, resize: Resize = "", assume_scale: tuple[Size, ...] | None = None
) -> LoadReport:
    """Load the backbone of a classifier, dense or pre-training file, strictly; heads and last norms are left aside.

    resize, assume_scale: as in `load_weights`.
    """
    path = weights_file(weights)
    model = nn.ModuleDict({"backbone": backbone})
    aside = _PRETRAINING | dict.fromkeys(("readout.", "norms."), "not part of the backbone")
    return _load(model, backbone, read_foreign(path, backbone), path, aside, {}, resize, assume_scale)


def load_kept(model: nn.Module, folder: str | Path) -> LoadReport:
    """Load a model folder or run folder into the module that its task keeps, strictly."""
    path, backbone = weights_file(folder), model.backbone
    found = read_foreign(path, backbone)  # type: ignore[arg-type]
    tensors = {k.removeprefix("readout.") if k.startswith("readout.norm.") else k: v for k, v in found.tensors.items()}
    if "norm.weight" in model.state_dict():
        found = found._replace(tensors=tensors)
    return _load(model, backbone, found, path, {}, {}, "", None)  # type: ignore[arg-type]


def read_foreign(path: Path, backbone: nn.Module) -> Foreign:
    """What a file holds under our names, and what config.json beside it tells.

    SimMIM keeps beside its backbone the norm that a classifier's readout has.
    """
    tensors = read_tensors(path)
    grids = [tuple(m.embedding.shape[:-1]) for m in backbone.modules() if isinstance(m, GridEmbedding)]
    with _naming(path):
        found = families.read(tensors, grids[0] if grids else None)
    tensors = {("readout." + k if k in ("norm.weight", "norm.bias") else k): v for k, v in found.tensors.items()}
    beside = describe(path, len(backbone.stages) if isinstance(backbone, Swin) else 0)
    # a window that is not square shows in no table: those of our own files are in their config.json or are square
    windows = beside.windows or (None if found.layout == "muntin" else found.windows)
    scale = beside.pretrained_window or found.pretrained_window
    settings = {**found.settings, **beside.settings}
    return found._replace(tensors=tensors, windows=windows, pretrained_window=scale, settings=settings)


def _load(
    model: nn.Module,
    backbone: nn.Module,
    found: Foreign,
    path: Path,
    aside: Mapping[str, str],
    fresh: Mapping[str, str],
    resize: Resize,
    assume_scale: tuple[Size, ...] | None,
) -> LoadReport:
    """Every tensor must find its place, but for those of the file under `aside` and those of the model in `fresh`."""
    if resize not in ("", "auto", *RULES):
        raise unknown("resize", str(resize), ("auto", *RULES))
    own = model.state_dict()
    if any(tensor.is_meta for tensor in own.values()):
        raise UserError(
            "the model is on the meta device, which keeps no values; give it memory by to_empty(device=...)"
        )
    dropped = {k: why for k in found.tensors for start, why in aside.items() if k.startswith(start)}
    used = {k: v for k, v in found.tensors.items() if k not in dropped}
    _check_family(own, used, path)
    _check_kind(backbone, used, path)
    with _naming(path):
        used = spread_bias(used, own)
        config: Any = backbone.config
        own_way: Resample = getattr(config, "position_resample", "bicubic")
        resample: Resample = found.settings.get("position_resample", own_way)
        changes = fit(used, own, _windows(backbone), _rule(resize, found.tensors), found.windows, resample)
    _check_frozen_windows(backbone, changes, path)
    if changes and not resize:
        raise UserError(_other_shape(path, changes))
    used |= {k: change.tensor for k, change in changes.items()}
    missing = [k for k in own if k not in used]
    problems = [k for k in used if k not in own] + [k for k in missing if k not in fresh]
    problems += [k for k, v in used.items() if k in own and v.shape != own[k].shape]
    if problems:
        raise UserError(_misfit(path, found, problems, used, own))
    notes = _adopt_scale(backbone, found, path, assume_scale) if isinstance(backbone, SwinV2) else ()
    notes += _adopt_settings(backbone, found.settings, path)
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
    """Put the file before what is said about its tensors."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _rule(resize: Resize, tensors: Mapping[str, Tensor]) -> Rule:
    if resize in RULES:
        return resize  # type: ignore[return-value]
    return "geometric" if resize and "mask_token" in tensors else "bicubic"


def _windows(backbone: nn.Module) -> list[Size]:
    """Of each stage; a BEiT has its bias tables for a grid."""
    if isinstance(backbone, Swin):
        return [stage[0].window for stage in backbone.attentions()]
    return [backbone.config.grid] if isinstance(backbone, BEiT) else []


def _adopt_scale(
    backbone: SwinV2, found: Foreign, path: Path, assume_scale: tuple[Size, ...] | None
) -> tuple[str, ...]:
    """Set the windows that V2's position bias was trained with; they are in no tensor that a model has. -> notes."""
    if backbone.config.frozen_bias:
        return ("the position bias is a frozen table",)
    told, own = found.pretrained_window, backbone.scale()
    if told and own and told != own:
        raise UserError(
            f"the position bias of {path} was trained with windows {_in_words(told)}, and the model is set to "
            f"{_in_words(own)}; build the model with pretrained_window={told}"
        )
    in_use = tuple(_windows(backbone))
    if told or own:
        scale, source = told or own or in_use, "as the file tells" if told else "as the model is set"
    elif found.windows:
        scale, source = found.windows, "those that the file was made for"
    else:
        scale, source = assume_scale or in_use, "assumed, the file does not tell"
    if told or scale not in (own, in_use):
        backbone.set_scale(scale)
    return (f"position bias trained with windows {_in_words(scale)} ({source})",)


def _adopt_settings(backbone: nn.Module, settings: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """Compute as the weights' own code, in what no tensor tells; where a family cannot, be built so already. -> notes.

    What is classified is no matter of the backbone, and what its config has no field for is of another family.
    """
    config: Any = backbone.config
    told = {name: value for name, value in settings.items() if name != "readout" and hasattr(config, name)}
    if isinstance(backbone, ViT):
        return backbone.adopt(told)
    for name, value in told.items():
        if value != getattr(config, name):
            raise UserError(
                f"{path}: the weights are of a model with {name} {value}, and this one has {getattr(config, name)}; "
                f"build it with {name}={value!r}"
            )
    return ()


def _in_words(windows) -> str:
    return ", ".join(map(by, windows if len(set(windows)) > 1 else windows[:1]))


# --- why a file does not fit -----------------------------------------------------------------------------------------


def _check_family(own: Mapping[str, Tensor], used: Mapping[str, Tensor], path: Path) -> None:
    """Name a file of another family, and one of a model with a distillation token where the other has none."""
    held, needed = families.files_of(used), families.files_of(own)
    if used and held is not needed and held and needed:
        raise UserError(f"{path} holds a {held.TITLE} and the model is a {needed.TITLE}; give weights of its kind")
    token = "backbone.prefix.distillation_token"
    if needed and token in used and token not in own:
        raise UserError(
            f"{path} holds a distilled model, with a distillation token and a head for it, and the model has none; "
            "create the model under its distilled name"
        )
    if held and used and token in own and token not in used:
        raise UserError(
            f"{path} holds a model without a distillation token, and the model has one and a head for it; create the "
            "model under its plain name"
        )


def _check_kind(backbone: nn.Module, used: Mapping[str, Tensor], path: Path) -> None:
    """Name a file of the other version of Swin, and one whose position bias is frozen where the model's is not."""
    if not isinstance(backbone, Swin):
        return
    cosine, table = (any(k.endswith(end) for k in used) for end in (".mix.logit_scale", ".mix.position.table"))
    held = _kind(cosine, frozen=table)
    v2 = isinstance(backbone, SwinV2)
    needed = _kind(v2, frozen=isinstance(backbone, SwinV2) and backbone.config.frozen_bias)
    if used and held != needed:
        hint = ", or build the model with frozen_bias=True" if v2 and cosine and table else ""
        raise UserError(f"{path} holds a {held} and the model is a {needed}; give weights of its kind{hint}")


def _check_frozen_windows(backbone: nn.Module, changes: Mapping[str, Change], path: Path) -> None:
    """A frozen position bias of V2 serves the windows it was frozen for: only its network has values for others."""
    window = next((change.why for change in changes.values() if change.what == "window"), None)
    if window and isinstance(backbone, SwinV2):
        raise UserError(
            f"the position bias of {path} is frozen for other windows than the model's ({window.partition(',')[0]}); "
            "take the weights from before it was frozen"
        )


def _kind(v2: bool, frozen: bool) -> str:
    return ("Swin V2 with a frozen position bias" if frozen else "Swin V2") if v2 else "Swin"


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
