import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from muntin.errors import UserError
from muntin.files import read_tensors

STATE = {"weight": torch.arange(6.0).view(2, 3), "bias": torch.ones(2)}


def same(found: dict[str, torch.Tensor]) -> bool:
    return found.keys() == STATE.keys() and all(torch.equal(found[k], v) for k, v in STATE.items())


@pytest.mark.parametrize("wrapper", [None, "model", "state_dict", "model_ema"])
def test_tensors_are_found_alone_or_under_a_wrapper(tmp_path, wrapper):
    torch.save({wrapper: STATE, "epoch": 3} if wrapper else STATE, tmp_path / "file.pth")
    assert same(read_tensors(tmp_path / "file.pth"))


def test_safetensors_are_read(tmp_path):
    save_file(STATE, tmp_path / "file.safetensors")
    assert same(read_tensors(tmp_path / "file.safetensors"))


def test_the_prefix_of_data_parallel_training_is_dropped(tmp_path):
    torch.save({f"module.{key}": value for key, value in STATE.items()}, tmp_path / "file.pt")
    assert same(read_tensors(tmp_path / "file.pt"))


class Payload:
    """Unpickling this creates a file."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


def test_a_pickle_payload_is_refused_and_never_run(tmp_path):
    canary = tmp_path / "canary"
    torch.save({"model": STATE, "config": Payload(canary)}, tmp_path / "zip.pth")
    torch.save({"model": STATE, "config": Payload(canary)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Payload(canary)))
    for name in ("zip.pth", "old.pth", "bare.pth"):
        with pytest.raises(UserError, match=r"cannot be read as weights alone.*safetensors"):
            read_tensors(tmp_path / name)
    assert not canary.exists()
    pickle.loads((tmp_path / "bare.pth").read_bytes())  # the payload was a live one
    assert canary.exists()


@pytest.mark.parametrize("name", ["file.safetensors", "file.pth"])
@pytest.mark.parametrize("keep", [0, 5, 40, -10])
def test_a_file_that_is_cut_off_is_one_sentence(tmp_path, name, keep):
    path = tmp_path / name
    save_file(STATE, path) if name.endswith("safetensors") else torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="cannot be read"):
        read_tensors(path)


@pytest.mark.parametrize("content", [[1, 2], {}, {"model": {"epoch": 3}}, {"weight": torch.ones(1), "epoch": 3}])
def test_a_file_without_a_dictionary_of_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(UserError, match="no dictionary of tensors"):
        read_tensors(tmp_path / "file.pth")


@pytest.mark.parametrize("content", [b"", b"hello\nworld", b"\x89PNG\r\n"])
def test_a_file_of_another_kind_is_called_so(tmp_path, content):
    (tmp_path / "file.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"it was not written by torch\.save"):
        read_tensors(tmp_path / "file.pth")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.pth is not there"):
        read_tensors(tmp_path / "absent.pth")
