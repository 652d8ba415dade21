"""Recorded cases of the parts of training: learning rates, weight decay, order, masks, mixing."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import torch

from muntin.data.loading.mixing import Draw, cut_box, mix, own_share, soft_target
from muntin.data.loading.order import Order
from muntin.engine.schedule import Schedule
from muntin.tasks import Classifier
from muntin.tasks.masking import MaskGenerator

from .case import Case
from .swin import backbone_of, decay_by_official_name

RATES = 1e-12  # relative; the curves are float64


def check_training(case: Case) -> None:
    """Learning rate of every update, and which parameters decay."""
    for curve, rows in case.under("output/lr_").items():
        schedule = _schedule(case.config, curve)
        updates_per_epoch = case.config["iters_per_epoch"]
        peaks = [case.config["base_lr"] * scale for scale in case.config.get("lr_scales", [1.0])]
        ours = [[schedule.lr(u, peak, updates_per_epoch) for peak in peaks] for u in range(len(rows))]
        relative = torch.tensor(ours, dtype=torch.float64) / rows
        case.compare(f"output/lr_{curve}", relative.sub(1).abs().le(RATES).double() * rows, 0.0)
    for key, text in case.metadata.items():
        if key.startswith("decay_groups"):
            _check_decay_groups(json.loads(text))
    case.assert_all_compared()


def _schedule(config: dict[str, Any], curve: str) -> Schedule:
    kind, _, option = curve.partition("_")
    assert option in ("", "noprefix"), f"unknown variant of the schedule: {curve}"
    return Schedule(
        kind=kind,  # type: ignore[arg-type]
        epochs=config["epochs"],
        warmup_epochs=config["warmup_epochs"],
        warmup_lr=config["warmup_lr"],
        min_lr=config["min_lr"],
        warmup_prefix=option != "noprefix",
        decay_epochs=config.get("decay_epochs", 30),
        decay_rate=config["gamma"] if kind == "multistep" else config.get("decay_rate", 0.1),
        milestones=tuple(config["multisteps"]) if kind == "multistep" else (),
    )


def _check_decay_groups(recorded: dict[str, Any]) -> None:
    v2 = any("logit_scale" in name for name in recorded["no_decay"])
    model = Classifier(backbone_of(recorded["config"], v2), recorded["config"].get("num_classes", 1000))
    ours = decay_by_official_name(model, "official")
    assert {name for decays, name in ours if decays} == set(recorded["decay"])
    assert {name for decays, name in ours if not decays} == set(recorded["no_decay"])


def check_masks(case: Case) -> None:
    """SimMIM's masks, from the same draws of the legacy numpy generator."""
    for i, config in enumerate(case.config):
        make = MaskGenerator(
            config["input_size"], config["mask_patch_size"], config["model_patch_size"], config["mask_ratio"]
        )
        draws = np.random.RandomState(config["np_seed"])
        recorded = case.tensors[f"output/mask{i}"]
        case.compare(f"output/mask{i}", torch.stack([make(draws) for _ in recorded]), 0.0)
    case.assert_all_compared()


def check_mixing(case: Case) -> None:
    """Mixup, CutMix and their targets from the recorded draws; CutMix's box from a replay of them."""
    for name, config in case.config.items():
        image, labels = case.tensors[f"input/{name}/image"], case.tensors[f"input/{name}/labels"]
        lam, box = config["lam_drawn"], None
        if config["use_cutmix"]:
            box = (*config["box_rows"], *config["box_cols"])
            assert _replayed_box(config, image.shape[-2:]) == box
            lam = own_share(box, image.shape[-2:])
            assert abs(lam - config["lam_corrected"]) < 1e-12
        mixed = mix(image, image.flip(0), Draw(lam, box))
        case.compare(f"output/{name}/image", mixed, 1e-6)
        target = soft_target(labels, config["num_classes"], lam, config["label_smoothing"])
        case.compare(f"output/{name}/target", target, 1e-6)
    case.assert_all_compared()


def _replayed_box(config: dict[str, Any], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box from the recorded seed, in timm's order of draws: apply? switch? beta, centre row, centre column."""
    draws = np.random.RandomState(config["numpy_seed"])
    draws.rand()
    if config["mixup_alpha"] and config["cutmix_alpha"]:
        draws.rand()
    lam = draws.beta(config["cutmix_alpha"], config["cutmix_alpha"])
    assert lam == config["lam_drawn"]
    return cut_box((size[0], size[1]), lam, (draws.randint(size[0]), draws.randint(size[1])))


def check_repeats(recorded: dict[str, Any]) -> None:
    """DeiT's repeated augmentation, on the official permutations: what each process takes."""
    for case in recorded["cases"]:
        count, world = case["dataset_len"], case["num_replicas"]
        how = {"seed": 0, "shuffle": case["shuffle"], "drop_last": True, "repeats": case["num_repeats"]}
        order = Order(count, 1, rank=case["rank"], world=world, **how)
        samples = torch.randperm(count, generator=torch.Generator().manual_seed(case["epoch"])).numpy()
        views = order.cut(samples if case["shuffle"] else np.arange(count))
        assert [int(view) % count for (view,) in views] == case["indices"]
        assert len(order) == len(case["indices"]) == case["length"]


NUMBER = r"[\d.e-]+"
CURVE = re.compile(rf"(?:base|wd) ({NUMBER}) (?:min|->) ({NUMBER}), (\d+) epochs x (\d+) it(?:, (.*))?")
WARM_UP = re.compile(r"warmup (\d+) epochs|(?:warmup_epochs \d+, )?warmup_steps (\d+)|no warmup")


def check_inclusive_schedules(recorded: dict[str, list[float]]) -> None:
    """ConvNeXt's cosine arrays, whose settings are in their names; the one of a weight decay is the same curve."""
    assert recorded
    for title, rates in recorded.items():
        curve = CURVE.fullmatch(title)
        assert curve, title
        warm_up = WARM_UP.fullmatch(curve[5] or "no warmup")
        assert warm_up, title
        base, end, epochs, an_epoch = float(curve[1]), float(curve[2]), int(curve[3]), int(curve[4])
        schedule = Schedule(
            clock="inclusive_update",
            epochs=epochs,
            warmup_epochs=float(warm_up[1] or 0) or int(warm_up[2] or 0) / an_epoch,
            warmup_lr=0.0,
            min_lr=end,
        )
        ours = [schedule.lr(update, base, an_epoch) for update in range(epochs * an_epoch)]
        assert len(ours) == len(rates)
        off = max(abs(mine - theirs) / theirs if theirs else abs(mine) for mine, theirs in zip(ours, rates))
        assert off <= RATES, f"{title} is off by {off:.1e}"
