"""Names to models: plain imports, a plain dictionary.

`create_model` gives a module images -> logits, `create_backbone` one images -> levels. Short names are canonical;
the names of the official configs, timm, torchvision and transformers are accepted.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from muntin.convert import read_tensors
from muntin.convert import swin as swin_files
from muntin.errors import UserError, unknown
from muntin.models import Swin, SwinConfig, SwinV2
from muntin.models.swin import VARIANTS as SWIN
from muntin.models.swin_v2 import VARIANTS as SWIN_V2
from muntin.tasks import Classifier

FORMAT = "muntin/1"


class Entry(NamedTuple):
    """What the catalog knows of one name."""

    name: str
    family: type[Swin]
    config: SwinConfig
    image_size: tuple[int, int]  # pixels of its published training
    top1: float | None  # published ImageNet-1K accuracy in %, None where no such number exists
    trained_on: str  # what that number was trained on


def _entry(name: str, side: int, top1: float | None = None, trained_on: str = "ImageNet-1K") -> Entry:
    family, config = (SwinV2, SWIN_V2[name]) if name in SWIN_V2 else (Swin, SWIN[name])
    return Entry(name, family, config, (side, side), top1, trained_on if top1 else "")


CATALOG: dict[str, Entry] = {  # image sizes and numbers: result tables of the official repository
    entry.name: entry
    for entry in (
        _entry("swin_tiny", 224, 81.2),
        _entry("swin_tiny_c24", 256, 81.6),
        _entry("swin_small", 224, 83.2),
        _entry("swin_base", 224, 83.5),
        _entry("swin_base_window12", 384, 84.5),
        _entry("swin_large", 224, 86.3, "ImageNet-22K, then 1K"),
        _entry("swin_large_window12", 384, 87.3, "ImageNet-22K, then 1K"),
        _entry("swin_v2_tiny_window8", 256, 81.8),
        _entry("swin_v2_tiny_window16", 256, 82.8),
        _entry("swin_v2_small_window8", 256, 83.7),
        _entry("swin_v2_small_window16", 256, 84.1),
        _entry("swin_v2_base_window8", 256, 84.2),
        _entry("swin_v2_base_window16", 256, 84.6),
        _entry("swin_v2_base_window12", 192),
        _entry("swin_v2_base_window12to16", 256, 86.2, "ImageNet-22K, then 1K"),
        _entry("swin_v2_base_window12to24", 384, 87.1, "ImageNet-22K, then 1K"),
        _entry("swin_v2_large_window12", 192),
        _entry("swin_v2_large_window12to16", 256, 86.9, "ImageNet-22K, then 1K"),
        _entry("swin_v2_large_window12to24", 384, 87.6, "ImageNet-22K, then 1K"),
        _entry("swin_v2_huge_window12", 192),
        _entry("swin_v2_giant_window12", 192),
        _entry("swin_v2_g_window12", 192),
    )
}

ALIASES = {  # other projects' names, normalised by `_plain`
    "swin_t": "swin_tiny",
    "swin_s": "swin_small",
    "swin_b": "swin_base",
    "swin_v2_t": "swin_v2_tiny_window8",
    "swin_v2_s": "swin_v2_small_window8",
    "swin_v2_b": "swin_v2_base_window8",
    "swin_tiny_patch4_window7_224": "swin_tiny",
    "swin_tiny_c24_patch4_window8_256": "swin_tiny_c24",
    "swin_small_patch4_window7_224": "swin_small",
    "swin_base_patch4_window7_224": "swin_base",
    "swin_base_patch4_window12_384": "swin_base_window12",
    "swin_large_patch4_window7_224": "swin_large",
    "swin_large_patch4_window12_384": "swin_large_window12",
    "swinv2_tiny_window8_256": "swin_v2_tiny_window8",
    "swinv2_tiny_window16_256": "swin_v2_tiny_window16",
    "swinv2_small_window8_256": "swin_v2_small_window8",
    "swinv2_small_window16_256": "swin_v2_small_window16",
    "swinv2_base_window8_256": "swin_v2_base_window8",
    "swinv2_base_window16_256": "swin_v2_base_window16",
    "swinv2_base_window12_192": "swin_v2_base_window12",
    "swinv2_base_window12to16_192to256": "swin_v2_base_window12to16",
    "swinv2_base_window12to24_192to384": "swin_v2_base_window12to24",
    "swinv2_large_window12_192": "swin_v2_large_window12",
    "swinv2_large_window12to16_192to256": "swin_v2_large_window12to16",
    "swinv2_large_window12to24_192to384": "swin_v2_large_window12to24",
}


def list_models(pattern: str = "*") -> list[str]:
    """Canonical names that fit a shell pattern, in the order of the catalog."""
    return [name for name in CATALOG if fnmatch.fnmatch(name, pattern)]


def entry(name: str) -> Entry:
    """The entry of a canonical or foreign name. Raises UserError that names the nearest for an unknown one."""
    plain = _plain(name)
    if found := CATALOG.get(ALIASES.get(plain, plain)):
        return found
    raise unknown("model", name, [*CATALOG, *ALIASES], 'list: muntin models "swin*"')


def create_model(
    name: str, *, num_classes: int = 1000, weights: str | Path | None = None, drop_path_rate: float = 0.0, **config: Any
) -> Classifier:
    """A classifier, images (B, C, H, W) -> logits (B, num_classes); pooled features (B, C) when num_classes is 0.

    weights: a .safetensors or .pth file (ours or official names), a model folder or a run folder; every tensor must
    find its place. config: any field of the model's config, such as `window=(16, 16)` or `in_chans=1`.
    Raises UserError for unknown names and fields and for weights that do not fit.
    """
    if num_classes < 0:
        raise UserError(f"num_classes is {num_classes}; it must be 0 (features) or more")
    model = Classifier(_backbone(name, drop_path_rate, config), num_classes)
    if weights is not None:
        load_weights(model, weights)
    return model


def create_backbone(
    name: str, *, weights: str | Path | None = None, drop_path_rate: float = 0.0, **config: Any
) -> Swin:
    """A backbone, images -> `Features` with one (B, C_i, H_i, W_i) a level; maps smaller than a window are padded.

    Arguments as `create_model`; a head in the weights is left aside.
    """
    config = {"small_map": "keep", **config}
    backbone = _backbone(name, drop_path_rate, config)
    if weights is not None:
        load_weights(Classifier(backbone, 0), weights, replace_head=True)
    return backbone


def build_config(name: str, overrides: Mapping[str, Any]) -> SwinConfig:
    """The config of a name with some fields replaced; a number stands for a square window, patch or grid."""
    base = entry(name).config
    fields = {f.name: getattr(base, f.name) for f in dataclasses.fields(base)}
    for key in overrides:
        if key not in fields:
            raise unknown(f"field of {entry(name).name}", key, fields)
    square = {"window", "patch", "absolute_position"}
    values = {
        k: _tuples((v,) * len(base.patch) if k in square and isinstance(v, int) else v) for k, v in overrides.items()
    }
    return dataclasses.replace(base, **values)


def multiply_adds(name: str, image_size: tuple[int, int] | None = None) -> int:
    """Multiply-adds of one picture through a classifier.

    Papers print them as FLOPs; PyTorch's counter gives twice as many.
    The small network of the continuous position bias is left out, as in the official count.
    """
    from torch.utils.flop_counter import FlopCounterMode

    found = entry(name)
    depths = found.config.depths
    shallow = dataclasses.replace(found.config, depths=(1,) * len(depths))  # blocks of a stage cost the same
    with torch.device("meta"):
        model = Classifier(found.family(shallow), 1000)
        picture = torch.empty(1, shallow.in_chans, *(image_size or found.image_size))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(picture)
    flops = {module: sum(ops.values()) for module, ops in counter.get_flop_counts().items()}

    def cost(part: str) -> int:
        """FLOPs of a module without its position bias."""
        return flops[part] - sum(n for m, n in flops.items() if m.startswith(part) and m.endswith(".position"))

    more = sum((depth - 1) * cost(f"Classifier.backbone.stages.{i}.0") for i, depth in enumerate(depths))
    return (cost("Classifier") + more) // 2


# --- weights ---------------------------------------------------------------------------------------------------------


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

    replace_head: a head of other classes, or a pre-training file without one, is no error: the new head keeps its
    fresh values, the old one (and SimMIM's mask token and decoder) is left aside. All else must fit, name and shape.
    """
    path = weights_file(weights)
    state = _as_classifier(_to_ours(read_tensors(path), model.backbone))  # type: ignore[arg-type]
    own = model.state_dict()
    heads = {k for k in own if k.startswith("readout.head.")}
    same_head = all(k in state and state[k].shape == own[k].shape for k in heads) and bool(heads)
    dropped = [
        k for k in state if k in _PRETRAINING or (replace_head and k.startswith("readout.head.") and not same_head)
    ]
    used = {k: v for k, v in state.items() if k not in dropped}
    missing = [k for k in own if k not in used]
    problems = [k for k in used if k not in own] + [k for k in missing if not (replace_head and k in heads)]
    problems += [k for k, v in used.items() if k in own and v.shape != own[k].shape]
    if problems:
        raise UserError(_misfit(path, problems, used, own))
    model.load_state_dict(used, strict=False)
    return LoadReport(len(used), missing, dropped)


_PRETRAINING = ("mask_token", "decoder.weight", "decoder.bias")


def _as_classifier(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """SimMIM keeps the encoder's last norm beside the backbone; a classifier has it in its readout."""
    return {("readout." + k if k in ("norm.weight", "norm.bias") else k): v for k, v in state.items()}


def _to_ours(state: dict[str, Tensor], backbone: Swin) -> dict[str, Tensor]:
    if any(k.startswith("backbone.stages.") for k in state):
        return state
    return swin_files.read(state, backbone.config.absolute_position)


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


def save_model(
    folder: Path, name: str, model: nn.Module, *, kind: str, classes: tuple[str, ...], preprocess: dict
) -> None:
    """Write config.json and model.safetensors: all that is needed to build the model and to prepare its pictures.

    kind: "classifier" or "simmim". preprocess: `data.Preprocess.to_dict()`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    backbone: Swin = model.backbone  # type: ignore[assignment]
    config = {
        "format": FORMAT,
        "kind": kind,
        "model": entry(name).name,
        "config": _config_changes(name, backbone),
        "num_classes": len(classes),
        "classes": list(classes),
        "preprocess": preprocess,
    }
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


class Saved(NamedTuple):
    """A model folder read back."""

    model: Classifier
    name: str
    classes: tuple[str, ...]
    preprocess: dict


def load_model(folder: str | Path) -> Saved:
    """Build the classifier that a model folder or run folder holds, in eval mode.

    Raises UserError for a folder without one, a pre-training model, and a config that contradicts its weights.
    """
    config = read_config(folder)
    if config["kind"] != "classifier":
        raise UserError(
            f"{folder} holds a {config['kind']} pre-training model, which names no classes; fine-tune it first"
        )
    model = create_model(config["model"], num_classes=config["num_classes"], weights=folder, **config["config"])
    return Saved(model.eval(), config["model"], tuple(config["classes"]), config["preprocess"])


def read_config(folder: str | Path) -> dict[str, Any]:
    """config.json of a model folder or run folder, checked."""
    path = weights_file(folder).with_name("config.json")
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is missing or damaged; it must lie beside model.safetensors") from error
    wanted = {
        "format": str,
        "kind": str,
        "model": str,
        "config": dict,
        "num_classes": int,
        "classes": list,
        "preprocess": dict,
    }
    for key, kind in wanted.items():
        if not isinstance(config, dict) or not isinstance(config.get(key), kind):
            raise UserError(f"{path} is no model description: '{key}' is missing or no {kind.__name__}")
    if config["format"] != FORMAT:
        raise UserError(f"{path} has format '{config['format']}'; this version reads '{FORMAT}'")
    if len(config["classes"]) != config["num_classes"]:
        raise UserError(f"{path} names {len(config['classes'])} classes but says num_classes {config['num_classes']}")
    return config


def _config_changes(name: str, backbone: Swin) -> dict[str, Any]:
    """The fields in which a backbone, as it is now, differs from its variant."""
    base = entry(name).config
    config = backbone.config
    changes = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    changes |= {"window": tuple(stage[0].window for stage in backbone.attentions())}
    if isinstance(backbone, SwinV2):
        scales = tuple(stage[0].position.scale_window for stage in backbone.attentions())
        changes |= {"pretrained_window": scales if all(scales) else None}
    return {k: v for k, v in changes.items() if v != getattr(base, k) and not (k == "window" and _same_window(v, base))}


def _same_window(windows: tuple, base: SwinConfig) -> bool:
    return all(w == base.window for w in windows)


def _backbone(name: str, drop_path_rate: float, config: Mapping[str, Any]) -> Swin:
    return entry(name).family(build_config(name, config), drop_path_rate)


def _tuples(value: Any) -> Any:
    """Lists, as JSON has them, to tuples."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value


def _plain(name: str) -> str:
    """A foreign name without owner, weight tag and training suffixes, in our spelling."""
    plain = name.rsplit("/", 1)[-1].split(".", 1)[0].replace("-", "_").lower()
    plain = re.sub(r"_(22k|in22k|22kto1k|ft|finetune|1k)+$", "", re.sub(r"_22kto1k(_ft|_finetune)?$", "", plain))
    return plain.replace("_patch4", "") if plain.startswith("swinv2_") else plain
