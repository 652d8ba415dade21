"""Recorded cases of Swin and Swin V2 whose weights start another model, and of frozen first stages.

The checkpoint is written to a file and loaded as a user would, so that reading, renaming and adapting are all proved.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from muntin.engine import freeze
from muntin.engine.optim import Optim, parameter_groups
from muntin.formats import swin as swin_files
from muntin.models import Swin, SwinV2
from muntin.models.swin_v2 import LogSpacedBias, log_spaced_offsets
from muntin.tasks import Classification, Classifier
from muntin.weights.fit import select_classes, zero_head
from muntin.weights.load import LoadReport, load_backbone, load_weights

from .case import Case
from .swin import V1, V2, Dense, backbone_of, compare_classifier, is_v2, runs

TABLES = 2e-6  # the recorded tables are float32; SimMIM's went through scipy's spline in float32
RATES = 1e-12  # relative


def adapts(config: dict[str, Any]) -> bool:
    """Whether a case starts a model from the weights of another."""
    return "target_model" in config


def check_adapting(case: Case) -> None:
    target = case.config["target_model"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pth"
        torch.save({case.config["checkpoint_wrapper"]: case.under("weights/")}, path)
        if case.has("input/target_only/norm0."):
            _check_dense(case, target, path)
        else:
            _check_source(case, path)
            _check_classifier(case, target, path)
    case.assert_all_compared()


def _check_source(case: Case, path: Path) -> None:
    """The weights in the model that they were trained in."""
    if source := case.config.get("source_model"):
        model = Classifier(backbone_of(source, is_v2(case)), source["num_classes"])
        load_weights(model, path)
        for ran, dtype in runs(model):
            case.compare(
                "output/source_logits", ran(case.input("x_source", dtype)), (V2 if is_v2(case) else V1).of(dtype)
            )


def _check_classifier(case: Case, target: dict[str, Any], path: Path) -> None:
    tolerance = V2 if is_v2(case) else V1
    model, report = _adapted_classifier(case, target, path)
    _check_report(case, report, "official")
    _compare_adapted(case, model, "official")
    for i, stage in enumerate(model.backbone.attentions()):
        case.compare(f"output/target_bias.layers.{i}.blocks.0", stage[0].position_bias(), tolerance.output)
    name, prefix = ("x_target", "target_") if case.has("input/x_target") else ("x", "")
    for ran, dtype in runs(model):
        compare_classifier(case, ran, case.input(name, dtype), tolerance, prefix)
    if recorded := case.metadata.get("finetune_param_groups"):
        _check_parameter_groups(model, case.config, json.loads(recorded))


def _adapted_classifier(case: Case, target: dict[str, Any], path: Path) -> tuple[Classifier, LoadReport]:
    """The target model with the weights of the file, by the rules of the official code."""
    backbone, classes = backbone_of(target, is_v2(case)), target["num_classes"]
    had = case.config["source_model"]["num_classes"] if "source_model" in case.config else classes
    model = Classifier(backbone, had)
    report = load_weights(model, path, resize="auto", replace_head=not case.has("weights/head."))
    state = model.state_dict()
    if case.has("input/map22kto1k"):
        state = select_classes(state, case.tensors["input/map22kto1k"].tolist())
    elif had != classes:
        state = zero_head(state, classes)
    state |= {f"readout.{name}": tensor for name, tensor in case.under("input/target_only/").items()}
    model.reset_classifier(classes)
    model.load_state_dict(state)
    if isinstance(backbone, SwinV2) and not any(target.get("pretrained_window_sizes", ())):
        # the official code forgets the scale of the old window where it is not told; we read it in the file
        assert backbone.config.pretrained_window != tuple(_windows(backbone))
        backbone.set_scale(tuple(_windows(backbone)))
    return model, report


def _check_dense(case: Case, target: dict[str, Any], path: Path) -> None:
    tolerance = V2 if is_v2(case) else V1
    model = Dense(backbone_of(target, is_v2(case), dense=True), tuple(target["out_indices"]))
    load_backbone(model.backbone, path, resize="auto")
    norms = case.under("input/target_only/norm")
    model.norms.load_state_dict({f"norms.{name}": tensor for name, tensor in norms.items()})
    _compare_adapted(case, model, "dense")
    for ran, dtype in runs(model):
        for i, output in zip(target["out_indices"], ran(case.input("x", dtype))):
            case.compare_map(f"output/stage{i}", output, *tolerance.map(dtype))


def _compare_adapted(case: Case, model: nn.Module, layout: str) -> None:
    """The adapted tensors under their official names, V2's coordinates among them."""
    official = swin_files.write(model.state_dict(), layout) | _coordinates(model.backbone)  # type: ignore[arg-type]
    for name in case.under("output/adapted/"):
        case.compare(f"output/adapted/{name}", official.get(name), TABLES)


def _coordinates(backbone: Swin) -> dict[str, Tensor]:
    found = {}
    for i, stage in enumerate(backbone.attentions()):
        for j, attention in enumerate(stage):
            if isinstance(attention.position, LogSpacedBias):
                window, scale = attention.window, attention.position.scale_window or attention.window
                table = log_spaced_offsets(window, scale, torch.float32, torch.device("cpu"))
                shape = (1, *[2 * w - 1 for w in window], len(window))
                found[f"layers.{i}.blocks.{j}.attn.relative_coords_table"] = table.view(shape)
    return found


def _windows(backbone: Swin) -> list[tuple[int, ...]]:
    return [stage[0].window for stage in backbone.attentions()]


def _check_report(case: Case, report: LoadReport, layout: str) -> None:
    """What the official code says it resized, dropped and did not find, the report says too."""
    buffers = ("relative_position_index", "relative_coords_table", "attn_mask")

    def recorded(field: str) -> set[str]:
        names = json.loads(case.metadata[field])
        renamed = (name for name in names if ".rpe_mlp." not in name and ".cpb_mlp." not in name)
        return {name for name in renamed if not name.startswith("head.")}

    def ours(names) -> set[str]:
        return {name.removeprefix("encoder.") for name in names}

    resized = swin_files.write({name: torch.zeros(1, 1, 1) for name in report.resized}, layout)
    assert set(resized) == {name for name in recorded("changed_keys") if not name.endswith(buffers)}
    key = "dropped" if "dropped" in case.metadata else "keys_dropped_from_checkpoint"
    assert ours(report.remade) == recorded(key)
    assert ours(report.dropped) == recorded("unexpected_after_load")
    missing = {name for name in json.loads(case.metadata["missing_after_load"]) if not name.endswith(buffers)}
    if not case.has("weights/head."):
        assert {name.removeprefix("readout.") for name in report.reinitialised} == missing


def _check_parameter_groups(model: Classifier, config: dict[str, Any], recorded: dict[str, Any]) -> None:
    """Learning rate and decay of every parameter, under layer-wise decay."""
    expected = {name: (g["lr"], g["lr_scale"], g["weight_decay"]) for g in recorded.values() for name in g["params"]}
    optim = Optim(lr=config["base_lr"], weight_decay=config["weight_decay"], layer_decay=config["layer_decay"])
    task, found = Classification(model), {}
    parameters = dict(task.named_parameters())
    for group in parameter_groups(task, optim):
        ours = {name.removeprefix("model."): parameters[name] for name in group["names"]}
        values = optim.lr * group["lr_scale"], group["lr_scale"], group["weight_decay"]
        found |= dict.fromkeys(swin_files.write(ours, "official"), values)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        for one, other in zip(found[name], values):
            assert abs(one - other) <= RATES * other, f"{name}: lr, its scale and decay are {found[name]}, not {values}"


def check_frozen(case: Case) -> None:
    """Which parameters the dense backbone freezes, and which modules stay in eval mode, for each `frozen_stages`."""
    recorded = json.loads(case.metadata["frozen"])
    for frozen_stages in sorted(int(key) for key in recorded if not key.endswith("modules")):
        backbone = backbone_of(case.config, v2=False, dense=True)
        model = freeze(Dense(backbone, tuple(case.config["out_indices"])), _frozen_groups(backbone, frozen_stages))
        assert model.train() is model
        frozen = {name: p for name, p in model.named_parameters() if not p.requires_grad}
        assert set(swin_files.write(frozen, "dense")) == set(recorded[str(frozen_stages)])
        case.compare(f"output/num_frozen.{frozen_stages + 1}", torch.tensor([len(frozen)]), 0)
        in_eval = {name for name, modules in _parts(backbone).items() if not any(m.training for m in modules)}
        assert in_eval == set(recorded[f"{frozen_stages}_eval_modules"]) - {"pos_drop"}  # dropout that we do not have
    case.assert_all_compared()


def _frozen_groups(backbone: Swin, frozen_stages: int) -> list[list[nn.Module]]:
    """The official count: 0 the patch embedding, 1 the absolute one too, n the first n - 1 stages too."""
    if frozen_stages <= 0:
        return [[backbone.patch_embed]] if frozen_stages == 0 else []
    return backbone.layers()[: 1 + sum(backbone.config.depths[: frozen_stages - 1])]


def _parts(backbone: Swin) -> dict[str, list[nn.Module]]:
    """Modules under their official names: a layer is the blocks of a stage and the merging behind them."""
    parts = {"patch_embed": [backbone.patch_embed]}
    for i, stage in enumerate(backbone.stages):
        parts[f"layers.{i}"] = [*stage, *backbone.merges[i : i + 1]]
    return {name: [inner for part in modules for inner in part.modules()] for name, modules in parts.items()}
