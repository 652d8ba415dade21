import json

import pytest
import torch
from safetensors.torch import save_file

from muntin.errors import UserError
from muntin.files import read_tensors
from muntin.files.safetensors_header import Described, read_header


def written(tmp_path, header, data: bytes = bytes(24)):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = tmp_path / "file.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def entry(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_the_header_is_that_of_the_library(tmp_path):
    tensors = {
        "a": torch.ones(2, 3),
        "b": torch.ones(4, dtype=torch.bfloat16),
        "c": torch.tensor(1),
        "d": torch.ones(0),
    }
    save_file(tensors, tmp_path / "file.safetensors", metadata={"format": "pt"})
    header = read_header(tmp_path / "file.safetensors")
    assert {name: found.shape for name, found in header.items()} == {k: tuple(v.shape) for k, v in tensors.items()}
    assert {name: found.dtype for name, found in header.items()} == {"a": "F32", "b": "BF16", "c": "I64", "d": "F32"}


def test_a_header_by_hand_is_read(tmp_path):
    path = written(tmp_path, {"a": entry([2, 3], 0, 24)})
    assert read_header(path) == {"a": Described("F32", (2, 3), 0, 24)}
    assert read_tensors(path)["a"].tolist() == [[0.0] * 3] * 2


TWICE = b'{"a":{"dtype":"F32","shape":[6],"data_offsets":[0,24]},"a":{"dtype":"F32","shape":[6],"data_offsets":[0,24]}}'


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"a": entry([2, 3], 0, 20)}, "not what bytes 0 to 20 hold"),
        ({"a": entry([2, 2], 0, 16)}, "should have 16 bytes, and 24 are there"),
        ({"a": entry([2, 4], 0, 32)}, "should have 32 bytes, and 24 are there"),
        ({"a": entry([1 << 40, 1 << 40], 0, 24)}, "not what bytes"),
        ({"a": entry([-2, -3], 0, 24)}, "not what bytes"),
        ({"a": entry([6], 0, 24), "b": entry([6], 0, 24)}, "b begins at byte 0, and the tensor before it ends at 24"),
        ({"a": entry([2], 0, 8), "b": entry([2], 16, 24)}, "begins at byte 16"),
        ({"a": entry([6], 0, 24, "F31")}, "unknown kind F31"),
        ({"a": {"dtype": "F32"}}, "description of a is damaged"),
        ({"a": entry([6], 0, 24) | {"pickle": ""}}, "description of a is damaged"),
        ([1, 2], "no list of tensors"),
        (TWICE, "names a tensor twice"),
        (b"{", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[" * 100_000, "no JSON"),
    ],
)
def test_a_header_that_contradicts_the_file_is_refused(tmp_path, header, reason):
    with pytest.raises(UserError, match=reason) as error:
        read_tensors(written(tmp_path, header))
    assert "\n" not in str(error.value)


def test_a_header_longer_than_the_file_is_refused(tmp_path):
    path = tmp_path / "file.safetensors"
    for content in (b"", b"1234", (1 << 62).to_bytes(8, "little") + b"{}"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="cut off or renamed"):
            read_tensors(path)
    path.write_bytes((17 << 20).to_bytes(8, "little") + bytes(18 << 20))
    with pytest.raises(UserError, match="header has 17825792 bytes"):
        read_tensors(path)
