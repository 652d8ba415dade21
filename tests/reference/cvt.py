"""Recorded cases of CvT: classifiers with class token or without, and the running statistics of a training step."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from muntin.catalog.cvt import readout
from muntin.data import Batch
from muntin.formats import cvt as cvt_files
from muntin.models.cvt import CvT, CvTConfig
from muntin.tasks import Classification, Classifier

from .case import Case

RUNS = [(torch.float32, "auto"), (torch.float64, "reference"), (torch.float64, "sdpa")]  # type, way of attention
# of the README: logits, maps, running statistics; gradients as a share of the largest entry, for batches are small
TOLERANCE, STATISTICS, GRADIENTS = 5e-5, 1e-5, 1e-3

_SAME = {
    "PATCH_SIZE": "embed_kernel",
    "PATCH_STRIDE": "embed_stride",
    "PATCH_PADDING": "embed_padding",
    "DIM_EMBED": "dims",
    "DEPTH": "depths",
    "NUM_HEADS": "heads",
    "MLP_RATIO": "mlp_ratio",
    "QKV_PROJ_METHOD": "projection",
    "KERNEL_QKV": "kernel",
    "STRIDE_KV": "kv_stride",
    "QKV_BIAS": "qkv_bias",
    "CLS_TOKEN": "class_token",
}
_WITHOUT_EFFECT = {"INIT", "NUM_STAGES", "DROP_RATE", "ATTN_DROP_RATE", "DROP_PATH_RATE"}  # 0 where a case trains
_FIXED = {"POS_EMBED", "STRIDE_Q", "PADDING_Q", "PADDING_KV"}


def config_of(spec: Mapping[str, Any]) -> CvTConfig:
    """Our config for the SPEC block of an official yaml file."""
    unknown = set(spec) - set(_SAME) - _WITHOUT_EFFECT - _FIXED
    assert not unknown, f"fields of the official config that this harness does not know: {sorted(unknown)}"
    half = [kernel // 2 for kernel in spec["KERNEL_QKV"]]
    assert spec["PADDING_Q"] == spec["PADDING_KV"] == half
    assert set(spec["STRIDE_Q"]) == {1}
    assert not any(spec["POS_EMBED"])
    return CvTConfig(**{ours: tuple(spec[theirs]) for theirs, ours in _SAME.items()})


def check_cvt(case: Case) -> None:
    config = config_of(case.config["spec"])
    model = Classifier(CvT(config), case.config["num_classes"], readout(config))
    model.load_state_dict(cvt_files.read(case.under("weights/")).tensors)
    trained = case.has("output/after/")
    for dtype, attention in RUNS:
        ran = copy.deepcopy(model).to(dtype).train(trained)
        ran.backbone.set_attention(attention)
        (_compare_training if trained else _compare)(case, ran)
    if not trained:
        model.eval().backbone.fuse()
        _compare(case, model)
    case.assert_all_compared()


def _compare(case: Case, ran: Classifier) -> None:
    x = case.input("image", ran.backbone.embeds[0].proj.weight.dtype)
    features = ran.backbone(x)
    for i, level in enumerate(features.levels):
        case.compare(f"output/stage{i}", level, TOLERANCE)
    for i, token in enumerate(_tokens(ran.backbone, x)):
        case.compare(f"output/stage{i}_cls", token, TOLERANCE)
    # the official code loses the axis of a batch of one
    case.compare("output/pooled", _as_recorded(case, "output/pooled", ran.readout.pool(*features)), TOLERANCE)
    logits = ran(x)
    assert logits.shape == (len(x), case.config["num_classes"])
    case.compare("output/logits", _as_recorded(case, "output/logits", logits), TOLERANCE)
    with torch.inference_mode():  # other kernels than with gradients
        case.compare("output/logits", _as_recorded(case, "output/logits", ran(x)), TOLERANCE)


def _compare_training(case: Case, ran: Classifier) -> None:
    dtype = ran.backbone.embeds[0].proj.weight.dtype
    x, target = case.input("image", dtype), case.input("target", dtype)
    logits: list[Tensor] = []
    ran.readout.register_forward_hook(lambda module, given, by_head: logits.extend(by_head))
    loss = Classification(ran).losses(Batch({"image": x}, {"soft": target})).terms["cross_entropy"]
    loss.backward()
    case.compare("output/logits", logits[0], TOLERANCE)
    case.compare("output/loss", loss, TOLERANCE)
    gradients = {name: p.grad for name, p in ran.named_parameters() if p.grad is not None}
    case.compare_gradients(cvt_files.write(gradients, "official"), GRADIENTS)
    for name, tensor in cvt_files.write(ran.state_dict(), "official").items():
        case.compare(f"output/after/{name}", tensor, STATISTICS)


def _tokens(backbone: CvT, x: Tensor) -> list[Tensor | None]:
    """The class token of every stage after its blocks; None where a stage has none."""
    ends: list[Tensor] = []
    hooks = [stage[-1].register_forward_hook(lambda m, given, y: ends.append(y)) for stage in backbone.stages]
    levels = backbone(x).levels
    for hook in hooks:
        hook.remove()
    counts = [end.shape[1] - level.shape[2] * level.shape[3] for end, level in zip(ends, levels, strict=True)]
    return [end[:, :count] if count else None for end, count in zip(ends, counts)]


def _as_recorded(case: Case, key: str, tensor: Tensor) -> Tensor:
    return tensor[0] if case.tensors[key].ndim == 1 else tensor
