from typing import NamedTuple

import torch

from muntin.engine.device import to_device

META = torch.device("meta")


class Boxes(NamedTuple):
    xyxy: torch.Tensor
    names: list[str]


def test_every_tensor_moves_however_deep_it_lies():
    one = torch.zeros(2)
    moved = to_device({"image": one, "boxes": [Boxes(one, ["a"]), (one, {"mask": one})]}, META)
    named, (plain, inner) = moved["boxes"]
    assert all(tensor.device == META for tensor in (moved["image"], named.xyxy, plain, inner["mask"]))
    assert one.device.type == "cpu"


def test_types_and_everything_that_is_no_tensor_stay():
    value = {"names": ["a", "b"], "size": (3, 4), "boxes": Boxes(torch.zeros(1), ["a"]), "path": None, "share": 0.5}
    moved = to_device(value, META)
    assert type(moved["boxes"]) is Boxes
    assert moved | {"boxes": None} == value | {"boxes": None}
    assert type(moved["size"]) is tuple


def test_a_tensor_that_is_there_already_is_not_copied():
    tensor = torch.zeros(2)
    assert to_device([tensor], torch.device("cpu"))[0] is tensor
