"""The steps from ResNet to ConvNeXt in the catalog."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping
from functools import partial
from importlib.resources import files as resources

from muntin.formats.convnext_roadmap import FILES
from muntin.heads import MeanNormReadout, MeanReadout, Readout
from muntin.models.convnext_roadmap import VARIANTS, Roadmap, RoadmapConfig

from .entry import Entry, Family

SMALL = {"depths": (1, 1), "width": 16}


def readout(config: RoadmapConfig) -> Callable[[int, int], Readout]:
    """The norm after the mean is one of those that come with separate downsampling."""
    normed = config.downsampling == "separate_normed"
    return partial(MeanNormReadout, eps=1e-6) if normed else MeanReadout


FAMILY = Family(
    "convnext_roadmap",
    Roadmap,
    RoadmapConfig,
    readout,
    FILES,
    SMALL,
    structure=("depths",),
    patch_kernel="backbone.stem.0.weight",
)

NOTES = {
    "00": "original recipe",
    "01": "modern recipe",
    "02": "stage ratio",
    "03": "patchify stem",
    "04": "depthwise convolution",
    "05": "more width",
    "06": "inverted bottleneck",
    "07": "depthwise convolution moved up",
    "08a": "kernel 5",
    "08b": "kernel 7, carried on",
    "08c": "kernel 9",
    "08d": "kernel 11",
    "09": "ReLU to GELU",
    "10": "fewer activations",
    "11": "fewer norms",
    "12": "batch norm to layer norm",
    "13": "separate downsampling, normed; layer scale: ConvNeXt",
    "13_no_norms": "separate downsampling without the norms; diverges on ImageNet",
}
TOP1 = {  # table 10: mean of three seeds
    "convnext_roadmap_00": 76.13,
    "convnext_roadmap_01": 78.82,
    "convnext_roadmap_02": 79.36,
    "convnext_roadmap_03": 79.51,
    "convnext_roadmap_04": 78.28,
    "convnext_roadmap_05": 80.50,
    "convnext_roadmap_06": 80.64,
    "convnext_roadmap_07": 79.92,
    "convnext_roadmap_08a": 80.35,
    "convnext_roadmap_08b": 80.57,
    "convnext_roadmap_08c": 80.57,
    "convnext_roadmap_08d": 80.47,
    "convnext_roadmap_09": 80.62,
    "convnext_roadmap_10": 81.27,
    "convnext_roadmap_11": 81.41,
    "convnext_roadmap_12": 81.47,
    "convnext_roadmap_13": 81.97,
}
TOP1_B = {  # table 11: one seed
    "convnext_roadmap_b_00": 78.20,
    "convnext_roadmap_b_01": 81.14,
    "convnext_roadmap_b_02": 81.33,
    "convnext_roadmap_b_03": 81.59,
    "convnext_roadmap_b_04": 80.54,
    "convnext_roadmap_b_05": 81.85,
    "convnext_roadmap_b_06": 82.64,
    "convnext_roadmap_b_07": 82.04,
    "convnext_roadmap_b_08a": 82.32,
    "convnext_roadmap_b_08b": 82.30,
    "convnext_roadmap_b_08c": 82.27,
    "convnext_roadmap_b_08d": 82.18,
    "convnext_roadmap_b_09": 82.19,
    "convnext_roadmap_b_10": 82.71,
    "convnext_roadmap_b_11": 83.17,
    "convnext_roadmap_b_12": 83.35,
    "convnext_roadmap_b_13": 83.60,
}


def measured() -> Mapping[str, list[float]]:
    """Top-1 in % of every step's small form on the digits, one number a seed, as `roadmap_digits.py` measured it."""
    return json.loads((resources(__package__) / "roadmap_digits.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def _entries() -> tuple[Entry, ...]:
    digits = measured()
    return tuple(_entry(name, config, digits.get(name)) for name, config in VARIANTS.items())


def _entry(name: str, config: RoadmapConfig, digits: list[float] | None) -> Entry:
    large = name.startswith("convnext_roadmap_b_")
    step = name.removeprefix("convnext_roadmap_b_" if large else "convnext_roadmap_")
    note, top1 = NOTES[step], (TOP1_B if large else TOP1).get(name)
    if step == "00":
        note = f"ResNet-{200 if large else 50}, {note}"
    elif large and step == "02":
        note = "stage ratio, width 84"
    trained_on, source = ("ImageNet-1K", f"ConvNeXt, table {11 if large else 10}") if top1 else ("", "")
    mean = round(statistics.mean(digits), 2) if digits else None
    return Entry(name, FAMILY, config, (224, 224), top1, trained_on, source, note, mean)


ENTRIES = _entries()
ALIASES = {  # step 8 is kernel 7 where the walk goes on
    "convnext_roadmap_08": "convnext_roadmap_08b",
    "convnext_roadmap_b_08": "convnext_roadmap_b_08b",
}
