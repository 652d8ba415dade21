"""Layouts against the recorded conversion of OpenMMLab's zoo, and the keys of real detectors and segmenters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from muntin.formats.swin import FILES, read, write
from muntin.layers.patch import PatchMerging

from .reference.case import Case, folder

FULL_SIZE = [f"{part}/state_dict_keys_swin_{size}.json" for part in ("mask_rcnn", "upernet") for size in "ts"]
FULL_SIZE += ["upernet/state_dict_keys_swin_b.json", "cascade_mask_rcnn/state_dict_keys_swin_b.json"]


def recorded(name: str) -> Path:
    path = folder() / name
    if not path.is_file():
        pytest.skip(f"the recorded {name} is not here; MUNTIN_REFERENCE names the folder of the full set")
    return path


@pytest.fixture
def zoo() -> Case:
    return Case(recorded("mask_rcnn/zoo_key_conversion.safetensors"))


def test_zoo_names_and_official_names_give_the_same_tensors(zoo):
    ours = read(zoo.under("weights/"))
    theirs = read(zoo.under("output/zoo/"))
    assert (ours.layout, theirs.layout) == ("dense", "openmmlab")
    assert theirs.tensors.keys() == ours.tensors.keys()
    assert all(torch.equal(theirs.tensors[key], tensor) for key, tensor in ours.tensors.items())
    assert theirs.settings.get("window") == ours.settings.get("window") == ((7, 7),) * 4
    assert set(theirs.dropped.values()) == {"follows from sizes"}


def test_ours_are_written_as_the_zoo_has_them(zoo):
    for layout, prefix in (("openmmlab", "output/zoo/"), ("dense", "weights/")):
        recorded_state = {k: v for k, v in zoo.under(prefix).items() if not k.endswith("relative_position_index")}
        written = write(read(zoo.under("weights/")).tensors, layout)
        assert written.keys() == recorded_state.keys()
        assert all(torch.equal(written[key], tensor) for key, tensor in recorded_state.items())


def test_patch_merging_of_zoo_weights_gives_the_recorded_tokens(zoo):
    state = read(zoo.under("output/zoo/")).tensors
    merging = PatchMerging(8, cells=(2, 2))
    first = "backbone.merges.0."
    merging.load_state_dict({k.removeprefix(first): v for k, v in state.items() if k.startswith(first)})
    tokens = zoo.tensors["input/merge_x"].unflatten(1, (9, 11))
    torch.testing.assert_close(merging(tokens).flatten(1, 2), zoo.tensors["output/merge_y"], atol=1e-6, rtol=0)


def test_the_scale_of_the_position_bias_is_read_from_official_v2_files():
    for name in ("simmim/convert_swin_v2.safetensors", "swin_v2/window_transfer.safetensors"):
        found = read(Case(recorded(name)).under("weights/"))
        assert (
            found.settings.get("pretrained_window") == found.settings.get("window") == ((4, 4), (4, 4), (4, 4), (2, 2))
        )


@pytest.mark.parametrize("name", FULL_SIZE)
def test_the_backbone_of_a_real_detector_or_segmenter_is_found(name):
    shapes = json.loads(recorded(name).read_text(encoding="utf-8"))
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    assert FILES.recognise(state) == "dense"
    found = read(state)
    assert found.wrapped_in.startswith("a segmenter (backbone.*" if "upernet" in name else "a detector (backbone.*")
    assert found.settings.get("window") == ((7, 7),) * 4
    around = {key for key, why in found.dropped.items() if why.startswith("neck and heads")}
    assert around == {key for key in shapes if not key.startswith("backbone.")}
    assert len(found.tensors) + len(found.dropped) == len(shapes)
    assert len(found.tensors) == {"t": 177, "s": 333, "b": 333}[name[-6]]
