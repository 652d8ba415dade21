"""From a weights file or folder into a model, with an account of every tensor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from muntin.convert import read_tensors
from muntin.convert import swin as swin_files
from muntin.errors import UserError
from muntin.models import Swin, SwinV2
from muntin.tasks import Classifier


class LoadReport(NamedTuple):
    """What happened to every tensor."""

    taken: int
    reinitialised: list[str]  # of the model, not in the file
    dropped: list[str]  # of the file, not in the model

    def __str__(self) -> str:
        parts = [f"{self.taken} tensors taken"]
        parts += (
            [f"{len(self.reinitialised)} newly initialised ({', '.join(self.reinitialised)})"]
            if self.reinitialised
            else []
        )
        parts += [f"{len(self.dropped)} left aside ({', '.join(self.dropped)})"] if self.dropped else []
        return "; ".join(parts)


def load_weights(model: Classifier, weights: str | Path, *, replace_head: bool = False) -> LoadReport:
    """Load a file or folder into a classifier, strictly.

    A model without classes (pooled features) leaves the file's head aside.
    replace_head: a head of other classes, or a pre-training file without one, is no error: the new head keeps its
    fresh values, the old one is left aside. Mask token and decoder of SimMIM always are. All else must fit.
    """
    path = weights_file(weights)
    state = _read(path, model.backbone)  # type: ignore[arg-type]
    own = model.state_dict()
    heads = {k for k in own if k.startswith("readout.head.")}
    same_head = bool(heads) and all(k in state and state[k].shape == own[k].shape for k in heads)
    aside = _PRETRAINING if same_head or (heads and not replace_head) else (*_PRETRAINING, "readout.head.")
    report = _load(model, state, path, aside, may_miss=heads if replace_head else set())
    _adopt_scale(model.backbone, path)  # type: ignore[arg-type]
    return report


def load_backbone(backbone: Swin, weights: str | Path) -> LoadReport:
    """Load the backbone of a classifier, dense or pre-training file, strictly; heads and last norms are left aside."""
    path = weights_file(weights)
    report = _load(
        nn.ModuleDict({"backbone": backbone}), _read(path, backbone), path, (*_PRETRAINING, "readout.", "norms.")
    )
    _adopt_scale(backbone, path)
    return report


def _adopt_scale(backbone: Swin, path: Path) -> None:
    """The scale of V2's position bias is in no tensor; config.json beside the weights has it where it was fixed."""
    if not isinstance(backbone, SwinV2) or backbone.config.pretrained_window is not None:
        return
    try:
        scales = json.loads(path.with_name("config.json").read_text(encoding="utf-8"))["config"]["pretrained_window"]
    except (OSError, ValueError, KeyError, TypeError):  # a file alone, or a scale that was never fixed
        return
    if isinstance(scales, list) and len(scales) == len(backbone.stages):
        backbone.set_scale(tuple(tuple(window) for window in scales))


_PRETRAINING = ("mask_token", "decoder.")


def _load(
    model: nn.Module, state: dict[str, Tensor], path: Path, aside: tuple[str, ...], may_miss: set[str] | None = None
) -> LoadReport:
    """Every tensor must find its place, but for those of the file that begin with `aside`."""
    own, dropped = model.state_dict(), [k for k in state if k.startswith(aside)]
    used = {k: v for k, v in state.items() if k not in dropped}
    missing = [k for k in own if k not in used]
    problems = [k for k in used if k not in own] + [k for k in missing if k not in (may_miss or ())]
    problems += [k for k, v in used.items() if k in own and v.shape != own[k].shape]
    if problems:
        raise UserError(_misfit(path, problems, used, own))
    model.load_state_dict(used, strict=False)
    return LoadReport(len(used), missing, dropped)


def _read(path: Path, backbone: Swin) -> dict[str, Tensor]:
    """The file's tensors under our names. SimMIM keeps beside its backbone the norm that a classifier's readout has."""
    state = read_tensors(path)
    if not any(k.startswith("backbone.stages.") for k in state):
        state = swin_files.read(state, backbone.config.absolute_position)
    return {("readout." + k if k in ("norm.weight", "norm.bias") else k): v for k, v in state.items()}


def _misfit(path: Path, problems: list[str], used: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    key = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if key in used and key in own:
        ours, theirs = tuple(own[key].shape), tuple(used[key].shape)
        if key.startswith("readout.head."):
            return (
                f"{path} was trained for {theirs[0]} classes, the model has {ours[0]}; "
                "use the file's number, or fine-tune to replace the head"
            )
        return f"{path} does not fit the model: {key} is {theirs} in the file and {ours} in the model{more}"
    where = "is in the file but not in the model" if key in used else "is missing from the file"
    return f"{path} does not fit the model: {key} {where}{more}; is it another variant?"


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
