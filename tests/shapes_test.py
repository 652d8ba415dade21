"""Every published ViT, DeiT, ConvNeXt and CvT has tensors of the names and shapes of its official file."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
import torch

from muntin.catalog import convnext, cvt, deit, vit
from muntin.catalog.entry import Entry
from muntin.tasks import Classifier

from .reference.case import folder

ROOMS = {"vit": (vit, "official"), "deit": (deit, "timm"), "convnext": (convnext, "official"), "cvt": (cvt, "official")}


def published() -> list:
    """(system, official name, shapes) of every variant in the folder of recorded vectors; none where there are none."""
    return [
        pytest.param(system, name, shapes, id=f"{system}/{name}")
        for system in ROOMS
        if (path := folder() / system / "state_dict_shapes.json").is_file()
        for name, shapes in json.loads(path.read_text(encoding="utf-8"))["variants"].items()
    ]


def entry_of(system: str, name: str) -> Entry:
    room, plain = ROOMS[system][0], name.lower().replace("-", "_")
    [entry] = [entry for entry in room.ENTRIES if entry.name == room.ALIASES.get(plain, plain)]
    return entry


@pytest.mark.reference
@pytest.mark.parametrize("system", ["convnext", "cvt"])
def test_every_entry_is_a_published_model(system: str):
    recorded = {entry_of(*case.values[:2]).name for case in published() if case.values[0] == system}
    assert not recorded or recorded == {entry.name for entry in ROOMS[system][0].ENTRIES}


@pytest.mark.reference
@pytest.mark.parametrize(("system", "name", "shapes"), published())
def test_names_and_shapes_are_the_official_ones(system: str, name: str, shapes: dict[str, Any]):
    layout = ROOMS[system][1]
    entry = entry_of(system, name)
    with torch.device("meta"):
        model = Classifier(entry.family.backbone(entry.config), 1000, entry.family.readout(entry.config))
    written = entry.family.files.write(model.state_dict(), layout, asdict(entry.config))
    assert {key: list(tensor.shape) for key, tensor in written.items()} == shapes
