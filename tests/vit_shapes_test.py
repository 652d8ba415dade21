"""Every published ViT and DeiT has tensors of the names and shapes of its official file."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from muntin.catalog import deit, vit
from muntin.convert import vit as vit_files
from muntin.tasks import Classifier

from .reference_case import folder

ROOMS = {"vit": (vit, "official"), "deit": (deit, "timm")}


def published() -> list:
    """(system, official name, shapes) of every variant in the folder of recorded vectors; none where there are none."""
    return [
        pytest.param(system, name, shapes, id=f"{system}/{name}")
        for system in ROOMS
        if (path := folder() / system / "state_dict_shapes.json").is_file()
        for name, shapes in json.loads(path.read_text(encoding="utf-8"))["variants"].items()
    ]


@pytest.mark.reference
@pytest.mark.parametrize(("system", "name", "shapes"), published())
def test_names_and_shapes_are_the_official_ones(system: str, name: str, shapes: dict[str, Any]):
    room, layout = ROOMS[system]
    plain = name.lower().replace("-", "_")
    [entry] = [entry for entry in room.ENTRIES if entry.name == room.ALIASES.get(plain, plain)]
    with torch.device("meta"):
        model = Classifier(entry.family.backbone(entry.config), 1000, entry.family.readout(entry.config))
    written = vit_files.write(model.state_dict(), layout, {"heads": entry.config.heads})
    assert {key: list(tensor.shape) for key, tensor in written.items()} == shapes
