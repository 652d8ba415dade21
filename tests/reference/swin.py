"""Recorded cases of Swin and Swin V2: classifiers, dense backbones, single attention modules, SimMIM pre-training."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from muntin.data import Batch
from muntin.engine.optim import Optim, parameter_groups
from muntin.formats import swin as swin_files
from muntin.heads import LevelNorms
from muntin.layers.attention import TableBias, WindowAttention
from muntin.models import Swin, SwinConfig, SwinV2, SwinV2Config
from muntin.models.swin_v2 import LogSpacedBias, QueryValueBias
from muntin.ops.attention import attend, temperature_scale, unit_vectors
from muntin.ops.windows import keep_window
from muntin.tasks import Classification, Classifier, SimMIM

from .case import Case

RUNS = [  # how each case is run: the type of all numbers, and how attention is computed
    (torch.float32, "auto"),
    (torch.float64, "reference"),
    (torch.float64, "sdpa"),
    (torch.float64, "direct"),
    (torch.float64, "chunked"),
]


class Tolerance(NamedTuple):
    """From the READMEs of the cases, loosened only where the float32 noise of the recording itself is larger."""

    output: float  # logits, loss, and the median entry of a map
    exact: float  # the same in float64, where only the noise of the recording is left
    worst: float  # how many times that the worst entry of a map may be off, per unit of the largest entry
    gradient: float  # share of the largest entry

    def of(self, dtype: torch.dtype) -> float:
        return self.output if dtype == torch.float32 else self.exact

    def map(self, dtype: torch.dtype) -> tuple[float, float]:
        return self.of(dtype), self.worst * self.of(dtype)


V1 = Tolerance(output=5e-6, exact=1e-6, worst=1, gradient=1e-5)
# cosine logits are scaled by up to 100: single entries of V2's maps are recorded to 1.1e-4, gradients to 0.8e-4
V2 = Tolerance(output=2e-5, exact=1e-5, worst=5, gradient=3e-4)


def is_v2(case: Case) -> bool:
    return any(key.endswith("logit_scale") for key in case.tensors)


# --- official configs ------------------------------------------------------------------------------------------------

_SAME = {
    "patch_size": "patch",
    "in_chans": "in_chans",
    "embed_dim": "dim",
    "depths": "depths",
    "num_heads": "heads",
    "mlp_ratio": "mlp_ratio",
    "qkv_bias": "qkv_bias",
    "qk_scale": "qk_scale",
    "patch_norm": "patch_norm",
}
_READ_ELSEWHERE = {
    "img_size",
    "pretrain_img_size",
    "window_size",
    "pretrained_window_sizes",
    "ape",
    "num_classes",
    "out_indices",
}
_WITHOUT_EFFECT = {  # in eval mode
    "drop_rate",
    "attn_drop_rate",
    "drop_path_rate",
    "use_checkpoint",
    "fused_window_process",
    "frozen_stages",
}


def backbone_of(official: Mapping[str, Any], v2: bool, dense: bool = False) -> Swin:
    """Our backbone for the constructor arguments of an official model, its defaults included."""
    unknown = set(official) - set(_SAME) - _READ_ELSEWHERE - _WITHOUT_EFFECT
    assert not unknown, f"arguments of the official model that this harness does not know: {sorted(unknown)}"
    family, config_of = (SwinV2, SwinV2Config) if v2 else (Swin, SwinConfig)
    values = {ours: official[theirs] for theirs, ours in _SAME.items() if theirs in official}
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    values["patch"] = _pair(values.get("patch", 4))
    values["qk_scale"] = values.get("qk_scale") or None
    grid, window = position_grid(official), official.get("window_size", 7)
    stages = len(official.get("depths", (2, 2, 6, 2)))
    windows = [_pair(window) if dense else _classifier_window(grid, window, i) for i in range(stages)]
    trained = official.get("pretrained_window_sizes") or [0] * stages
    if any(trained):
        values["pretrained_window"] = tuple(_pair(p) if p else w for p, w in zip(trained, windows))
    values |= {"window": tuple(windows), "small_map": "keep" if dense else "shrink"}
    return family(config_of(**values, absolute_position=grid if official.get("ape") else None))


def position_grid(official: Mapping[str, Any]) -> tuple[int, int]:
    """Tokens along each axis of the pictures that an official model was made for."""
    size = _pair(official.get("img_size", official.get("pretrain_img_size", 224)))
    patch = _pair(official.get("patch_size", 4))
    return size[0] // patch[0], size[1] // patch[1]


def _classifier_window(grid: tuple[int, int], window: int, stage: int) -> tuple[int, int]:
    """The official classifier builds each stage for its window shrunk to the shorter side of the map."""
    return _pair(min(window, *(side // 2**stage for side in grid)))


def _pair(value: int | list[int] | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def runs(model: nn.Module, backbone_name: str = "backbone") -> Iterator[tuple[Any, torch.dtype]]:
    for dtype, attention in RUNS:
        ran = copy.deepcopy(model).to(dtype).eval()
        getattr(ran, backbone_name).set_attention(attention)
        yield ran, dtype


def _gradients(model: nn.Module, layout: str) -> dict[str, Tensor]:
    """Gradients under official names: the conversion table, read backwards."""
    gradients = {n: p.grad if p.grad is not None else torch.zeros_like(p) for n, p in model.named_parameters()}
    return swin_files.write(gradients, layout)


# --- classifiers -----------------------------------------------------------------------------------------------------


def check_classifier(case: Case) -> None:
    v2 = is_v2(case)
    tolerance = V2 if v2 else V1
    model = Classifier(backbone_of(case.config, v2), case.config.get("num_classes", 1000))
    model.load_state_dict(swin_files.read(case.under("weights/"), position_grid(case.config)).tensors)
    for ran, dtype in runs(model):
        atol, x = tolerance.of(dtype), case.input("x", dtype)
        compare_classifier(case, ran, x, tolerance)
        with torch.inference_mode():  # other kernels than with gradients
            case.compare("output/logits", ran(x), atol)
        if case.has("output/loss") or case.has("grad/"):
            batch = Batch({"image": x}, {"soft": case.input("soft_target", dtype)})
            loss = Classification(ran).losses(batch).terms["cross_entropy"]
            loss.backward()
            case.compare("output/loss", loss, atol)
            case.compare_gradients(_gradients(ran, "official"), tolerance.gradient)
    case.assert_all_compared()


def compare_classifier(case: Case, ran: Classifier, x: Tensor, tolerance: Tolerance, model: str = "") -> None:
    """Compare what a classifier computes at every step; `model` stands before the names of its outputs."""
    to, maps = f"output/{model}", tolerance.map(x.dtype)
    levels = ran.forward_features(x).levels
    case.compare_map(f"{to}patch_embed", ran.backbone.embed(x).flatten(1, -2), *maps)
    for i, level in enumerate(levels):
        case.compare_map(f"{to}stage{i}", level.flatten(2).mT, *maps)
    for i, merge in enumerate(ran.backbone.merges):
        case.compare_map(f"{to}merge{i}", merge(levels[i].movedim(1, -1)).flatten(1, -2), *maps)
    case.compare_map(f"{to}features", ran.readout.pool(levels), *maps)
    case.compare(f"{to}logits", ran(x), tolerance.of(x.dtype))


# --- dense backbones -------------------------------------------------------------------------------------------------


class Dense(nn.Module):
    """A backbone and the norm of every level that the official code returns."""

    def __init__(self, backbone: Swin, out_levels: tuple[int, ...]):
        super().__init__()
        self.backbone, self.norms = backbone, LevelNorms(backbone.channels, out_levels)

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.norms(self.backbone(x).levels)


def check_dense(case: Case) -> None:
    v2 = is_v2(case)
    tolerance = V2 if v2 else V1
    backbone = backbone_of(case.config, v2, dense=True)
    out_levels = tuple(case.config.get("out_indices", range(len(backbone.channels))))
    model = Dense(backbone, out_levels)
    model.load_state_dict(swin_files.read(case.under("weights/")).tensors)
    for ran, dtype in runs(model):
        x = case.input("x", dtype)
        outputs = dict(zip(out_levels, ran(x)))
        case.compare_map("output/patch_embed", ran.backbone.embed(x).movedim(-1, 1), *tolerance.map(dtype))
        for i, output in outputs.items():
            case.compare_map(f"output/stage{i}", output, *tolerance.map(dtype))
        with torch.inference_mode():
            for i, output in zip(out_levels, ran(x)):
                case.compare_map(f"output/stage{i}", output, *tolerance.map(dtype))
        if case.has("grad/"):
            sum((outputs[i] * case.input(f"grad_stage{i}", dtype)).sum() for i in out_levels).backward()
            case.compare_gradients(_gradients(ran, "dense"), tolerance.gradient)
    case.assert_all_compared()


# --- single attention modules ----------------------------------------------------------------------------------------


def check_window_attention(case: Case) -> None:
    for i, official in enumerate(case.config):
        weights = case.under(f"weights/{i}.")
        v2 = "logit_scale" in weights
        module, window = _attention_of(official, v2), _pair(official["window_size"])
        first = "layers.0.blocks.0.attn."
        ours = swin_files.read({first + key: tensor for key, tensor in weights.items()}).tensors
        module.load_state_dict({k.removeprefix("backbone.stages.0.0.mix."): t for k, t in ours.items()})
        for dtype, backend in RUNS:
            module.to(dtype).backend = backend
            atol = 1e-4 if v2 and dtype == torch.float32 else (V2 if v2 else V1).of(dtype)
            x, mask = case.input(f"{i}.x", dtype), case.tensors.get(f"input/{i}.mask")
            if mask is not None:  # any mask, not only that of a shift: the same parts, put together as in the module
                y = _with_mask(module, x, mask.to(dtype), window, "sdpa" if backend == "sdpa" else "reference")
            else:
                y = module(x.unflatten(1, window)).flatten(1, 2)
            case.compare(f"output/{i}.y", y, atol)
    case.assert_all_compared()


def _attention_of(official: Mapping[str, Any], v2: bool) -> WindowAttention:
    dim, heads, window = official["dim"], official["num_heads"], _pair(official["window_size"])
    trained = _pair(official.get("pretrained_window_size", 0))
    bias = official.get("qkv_bias", True)
    return WindowAttention(
        QueryValueBias(dim) if v2 and bias else nn.Linear(dim, 3 * dim, bias=bias),
        LogSpacedBias(trained if any(trained) else None, 2, heads) if v2 else TableBias(window, heads),
        dim=dim,
        heads=heads,
        window=window,
        shift=(0, 0),
        small_map=keep_window,
        scale=official.get("qk_scale") or None,
        logit_scale=nn.Parameter(torch.empty(heads, 1, 1)) if v2 else None,
    )


def _with_mask(module: WindowAttention, x: Tensor, mask: Tensor, window: tuple[int, int], backend: Any) -> Tensor:
    """Windows (B * nW, N, C) and a mask (nW, N, N) -> (B * nW, N, C)."""
    q, k, v = module.qkv(x).unflatten(-1, (3, module.heads, -1)).permute(2, 0, 3, 1, 4)
    if module.logit_scale is None:
        q = q * module.scale
    else:
        q, k = unit_vectors(q) * temperature_scale(module.logit_scale), unit_vectors(k)
    masks = mask.repeat(len(x) // len(mask), 1, 1)[:, None]
    out = attend(q, k, v, module.position_bias(window) + masks, backend)
    return module.proj(out.transpose(1, 2).flatten(2))


# --- SimMIM ----------------------------------------------------------------------------------------------------------


def check_simmim(case: Case) -> None:
    v2 = is_v2(case)
    tolerance = V2 if v2 else V1
    official = case.config["encoder"]
    norm_target = case.config.get("norm_target") or {}
    side = norm_target.get("patch_size", 47) if norm_target.get("enable") else 0
    model = SimMIM(backbone_of(official, v2), normalised_target=side)
    assert model.stride == (case.config.get("encoder_stride", model.stride[0]),) * 2
    model.load_state_dict(swin_files.read(case.under("weights/"), position_grid(official)).tensors)
    for ran, dtype in runs(model):
        image, mask = case.input("x", dtype), case.tensors["input/mask"].long()
        batch = Batch({"image": image, "mask": mask}, {})
        features = ran.encode(image, mask).movedim(-1, 1)
        case.compare_map("output/encoder_features", features, *tolerance.map(dtype))
        case.compare_map("output/reconstruction", ran.reconstruct(image, mask), *tolerance.map(dtype))
        case.compare_map("output/normalised_target", ran.target(image), *tolerance.map(dtype))
        loss = sum(ran.losses(batch).terms.values())
        case.compare("output/loss", loss, 1e-6)
        if case.has("grad/"):
            loss.backward()
            case.compare_gradients(_gradients(ran, "simmim"), max(1e-4, tolerance.gradient))
    if official_list := case.metadata.get("no_weight_decay_params_as_official"):
        _check_decay_in_pretraining(model, set(json.loads(official_list)))
    case.assert_all_compared()


def _check_decay_in_pretraining(model: SimMIM, official: set[str]) -> None:
    """We exempt what the official code exempts, and what it means to exempt but misses.

    Its keywords are prefixed with `encoder.` and then searched as substrings, so that they never match: position
    biases and temperatures decay in its SimMIM pre-training, and in nothing else. We keep them exempt everywhere.
    """
    meant = ("cpb_mlp", "logit_scale", "relative_position_bias_table")
    names = {name for _, name in decay_by_official_name(model, "simmim")}
    ours = {name for decays, name in decay_by_official_name(model, "simmim") if not decays}
    assert ours == official | {name for name in names if any(word in name for word in meant)}


def decay_by_official_name(model: nn.Module, layout: str) -> list[tuple[bool, str]]:
    """(whether it decays, official name) of every parameter."""
    parameters = dict(model.named_parameters())
    groups = parameter_groups(model, Optim(weight_decay=0.05))
    assert sorted(n for g in groups for n in g["names"]) == sorted(parameters)
    found = []
    for group in groups:
        renamed = swin_files.write({n: parameters[n] for n in group["names"]}, layout)
        found += [(group["weight_decay"] > 0, name) for name in renamed]
    return found
