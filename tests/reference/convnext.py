"""Recorded cases of ConvNeXt: classifiers, the dense backbone, gradients, parameter groups, names and shapes.

`check` is for cases with tensors, `check_parameter_groups` for the JSON file of rates and decay.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from muntin.catalog.convnext import readout
from muntin.data import Batch
from muntin.engine.optim import Optim, parameter_groups
from muntin.formats import convnext as convnext_files
from muntin.heads import LevelNorms
from muntin.models.convnext import EPS, ConvNeXt, ConvNeXtConfig
from muntin.tasks import Classification, Classifier

from .case import Case

# the README allows 5e-5; in float64 only the float32 noise of the recording is left
ATOL = {torch.float32: 5e-5, torch.float64: 2e-5}
GRADIENT = 1e-4  # share of the largest entry
RATES = 1e-12  # relative


def check(case: Case) -> None:
    """Any case with tensors."""
    if case.config["class"] == "ConvNeXtBackbone":
        check_dense(case)
    else:
        check_classifier(case)


def config_of(official: Mapping[str, Any]) -> ConvNeXtConfig:
    """Our config for the constructor arguments of an official model."""
    scale = official["layer_scale_init_value"]
    if official["class"] == "ConvNeXtIsotropic":
        sizes = {"dims": (official["dim"],), "depths": (official["depth"],)}
        return ConvNeXtConfig(patch=(16, 16), patch_norm=False, layer_scale=scale, **sizes)
    return ConvNeXtConfig(dims=tuple(official["dims"]), depths=tuple(official["depths"]), layer_scale=scale)


def check_classifier(case: Case) -> None:
    config = config_of(case.config)
    model = Classifier(ConvNeXt(config), case.config["num_classes"], readout(config))
    model.load_state_dict(convnext_files.read(case.under("weights/")).tensors)
    for dtype, atol in ATOL.items():
        ran, x = copy.deepcopy(model).to(dtype).eval(), case.input("image", dtype)
        levels = ran.forward_features(x).levels
        for i, level in enumerate(levels):
            case.compare(f"output/stage{i}", level, atol)
        case.compare("output/pooled", ran.readout.pool(levels), atol)
        case.compare("output/logits", ran(x), atol)
        with torch.inference_mode():  # other kernels than with gradients
            case.compare("output/logits", ran(x), atol)
        if case.has("grad/"):
            batch = Batch({"image": x}, {"soft": case.input("target", dtype)})
            loss = Classification(ran.train()).losses(batch).terms["cross_entropy"]
            case.compare("output/loss", loss, atol)
            loss.backward()
            gradients = {name: p.grad for name, p in ran.named_parameters() if p.grad is not None}
            case.compare_gradients(convnext_files.write(gradients, "official"), GRADIENT)
    case.assert_all_compared()


class Dense(nn.Module):
    """The backbone, a norm for every level, and a stand-in for the head that reads them."""

    def __init__(self, config: ConvNeXtConfig):
        super().__init__()
        self.backbone = ConvNeXt(config)
        self.norms = LevelNorms(self.backbone.channels, eps=EPS)

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.norms(self.backbone(x).levels)


def check_dense(case: Case) -> None:
    model = Dense(config_of(case.config))
    model.load_state_dict(convnext_files.read(case.under("weights/")).tensors)
    for dtype, atol in ATOL.items():
        ran = copy.deepcopy(model).to(dtype).eval()
        for i, level in enumerate(ran(case.input("image", dtype))):
            case.compare(f"output/out{i}", level, atol)
    case.assert_all_compared()


# --- parameter groups ------------------------------------------------------------------------------------------------


def check_parameter_groups(recorded: Mapping[str, Any]) -> None:
    """Rate and decay of every parameter, under official names, in the four recorded settings."""
    groups, small = dict(recorded["classification"]), (3, 3, 27, 3)
    settings = "small_like depths [3,3,27,3], wd 1e-8, layer_decay 0.8"
    _compare_groups(_classifier(small), Optim(weight_decay=1e-8, layer_decay=0.8), groups.pop(settings))
    settings = "no layer decay, depths [1,1,2,1], wd 0.05"
    _compare_groups(_classifier((1, 1, 2, 1)), Optim(weight_decay=0.05), groups.pop(settings))
    dense = dict(recorded["downstream"])
    settings = "layer_wise, num_layers 6, depths [3,3,9,3], decay 0.95"
    _compare_groups(_LayerWise((3, 3, 9, 3)), Optim(weight_decay=0.05, layer_decay=0.95), dense.pop(settings))
    settings = "stage_wise, num_layers 12, depths [3,3,27,3], decay 0.9"
    _compare_groups(_StageWise(small), Optim(weight_decay=0.05, layer_decay=0.9), dense.pop(settings))
    assert not groups
    assert not dense


def _classifier(depths: tuple[int, ...]) -> nn.Module:
    config = ConvNeXtConfig(dims=(4, 4, 4, 4), depths=depths)
    return Classifier(ConvNeXt(config), 3, readout(config))


class _LayerWise(Dense):
    """A dense model: norms of levels and head learn at the full rate."""

    def __init__(self, depths: tuple[int, ...]):
        super().__init__(ConvNeXtConfig(dims=(4, 4, 4, 4), depths=depths))
        self.decode_head = nn.Conv2d(4, 3, 1)

    def layers(self) -> list[list[nn.Module]]:
        return [*self.backbone.layers(), [self.norms, self.decode_head]]


class _StageWise(_LayerWise):
    """Segmentation's published map: everything between stages is the lowest, and 8 depths below the head are empty."""

    def layers(self) -> list[list[nn.Module]]:
        between: list[nn.Module] = [self.backbone.patch_embed, *self.backbone.downsamples]
        stages = [[stage] for stage in self.backbone.stages]
        return [between, *stages, *([] for _ in range(8)), [self.norms, self.decode_head]]


def _compare_groups(model: nn.Module, optim: Optim, recorded: Mapping[str, Mapping[str, Any]]) -> None:
    expected = {name: (g["lr_scale"], g["weight_decay"]) for g in recorded.values() for name in g["params"]}
    dense = any(name.startswith("backbone.") for name in expected)
    head = {name: p for name, p in model.named_parameters() if name.startswith("decode_head.")}
    own = {name: p for name, p in model.named_parameters() if name not in head}
    official = convnext_files.write(own, "dense" if dense else "official")
    names = {id(p): f"backbone.{name}" if dense else name for name, p in official.items()}
    names |= {id(p): name for name, p in head.items()}
    groups = parameter_groups(model, optim)
    found = {names[id(p)]: (group["lr_scale"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert found.keys() == expected.keys()
    for name, (rate, decay) in expected.items():
        assert abs(found[name][0] - rate) <= RATES * rate, f"{name}: lr scale {found[name][0]}, not {rate}"
        assert found[name][1] == decay, f"{name}: weight decay {found[name][1]}, not {decay}"
