import io
import pickle
import zipfile
from pathlib import Path

import numpy
import pytest
import torch

from muntin.errors import UserError
from muntin.files import read_tensors
from muntin.files.npz import write_npz

ARRAYS = {"head/kernel": numpy.arange(6, dtype=numpy.float32).reshape(2, 3), "head/bias": numpy.ones(3, numpy.float16)}


def npy(descr: str = "'<f4'", order: str = "False", shape: str = "(2,)", data: bytes = bytes(8)) -> bytes:
    """An array's file with any header."""
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.fixture
def archive(tmp_path):
    """An archive of entries {name: bytes} -> path."""

    def write(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
        with zipfile.ZipFile(tmp_path / "file.npz", "w", compression) as file:
            for name, content in entries.items():
                file.writestr(name, content)
        return tmp_path / "file.npz"

    return write


def refused(path, reason):
    with pytest.raises(UserError, match=reason) as error:
        read_tensors(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("prefix", ["", "opt/target/", "params/"])
def test_arrays_come_as_numpy_saved_them(tmp_path, prefix):
    beside = {"opt/state/step": numpy.array(3)} if prefix else {}
    numpy.savez(tmp_path / "file.npz", **{prefix + name: array for name, array in ARRAYS.items()}, **beside)
    found = read_tensors(tmp_path / "file.npz")
    assert found.keys() == ARRAYS.keys()
    assert all(torch.equal(found[name], torch.from_numpy(array)) for name, array in ARRAYS.items())
    found["head/bias"] += 1  # they can be trained


def test_every_order_and_number_of_axes_is_read(tmp_path):
    cube = numpy.arange(24.0).reshape(2, 3, 4)
    arrays = {"rows": cube, "columns": numpy.asfortranarray(cube), "number": numpy.array(2.5), "none": cube[:0]}
    numpy.savez(tmp_path / "file.npz", **arrays)
    found = read_tensors(tmp_path / "file.npz")
    assert all(torch.equal(found[name], torch.from_numpy(array.copy())) for name, array in arrays.items())


def test_what_is_written_is_read_by_numpy_and_here(tmp_path):
    tensors = {"a/b": torch.randn(2, 3), "c": torch.randn(4).half(), "d": torch.randn(3, 2).T, "e": torch.ones(2, 2)}
    tensors["e"] = tensors["e"].bfloat16()
    write_npz(tmp_path / "file.npz", tensors)
    found = read_tensors(tmp_path / "file.npz")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    with numpy.load(tmp_path / "file.npz") as arrays:
        assert all(numpy.array_equal(arrays[name], tensors[name].numpy()) for name in "cd")


def test_object_arrays_are_refused_and_never_unpickled(tmp_path):
    class Payload:
        def __reduce__(self):
            return Path.touch, (tmp_path / "canary",)

    numpy.savez(tmp_path / "file.npz", ok=numpy.ones(2), bad=numpy.array([Payload(), 1], dtype=object))
    refused(tmp_path / "file.npz", r"bad\.npy holds Python objects, which only unpickling reads")
    assert not (tmp_path / "canary").exists()
    with zipfile.ZipFile(tmp_path / "file.npz") as file:
        pickle.loads(file.read("bad.npy").partition(b"\n")[2])  # the payload was a live one
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (npy(shape="(3,)"), r"is \(3,\) by its header, and has 8 bytes"),
        (npy(shape="(9999999999999, 4096)"), "by its header, and has 8 bytes"),
        (npy(shape="(0, 99999999999999)", data=b""), "which no weights have"),
        (npy(shape=f"({'9' * 100},)"), "which no weights have"),
        (npy(shape=f"({'1, ' * 40})"), "which no weights have"),
        (npy(shape="(-1,)"), "does not describe a plain array"),
        (npy(shape="(2, , 1)"), "which no weights have"),
        (npy(shape="(" * 3000), "does not describe a plain array"),
        (npy(descr="[('a', '<f4'), ('b', '<f4')]"), "does not describe a plain array"),
        (npy(descr="'|O'"), "Python objects"),
        (npy(descr="'>f4'"), "of numpy's type '>f4'"),
        (npy(descr="'<U1'"), "of numpy's type '<U1'"),
        (npy(descr="__import__('os').system('true')"), "does not describe a plain array"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "has 4294967295 bytes, more than"),
        (b"\x93NUMPY\x01\x00", "does not describe a plain array"),
        (b"", "is no array"),
        (b"hello", "is no array"),
    ],
)
def test_headers_that_claim_too_much_are_one_sentence(archive, content, reason):
    refused(archive({"good.npy": npy(), "bad.npy": content}), reason)


def test_a_zip_bomb_is_refused(archive):
    path = archive({"a.npy": npy(shape="(16777216,)", data=bytes(64 << 20))}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    refused(path, r"a\.npy is compressed, which numpy\.savez never does.*save its arrays there with numpy\.savez")


def test_other_archives_and_damage_are_one_sentence(archive, tmp_path):
    refused(archive({"a.npy": npy(), "b.txt": b"b"}), r"numpy\.savez did not write: it has a part b\.txt")
    content = archive({"a.npy": npy(data=b"12345678")}).read_bytes()
    for damaged in (b"", content[:40], content[:-10], b"x" + content, content.replace(b"12345678", b"12345679")):
        (tmp_path / "file.npz").write_bytes(damaged)
        refused(tmp_path / "file.npz", "damaged|not as numpy.savez")


def test_a_pth_named_npz_is_one_sentence(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "file.npz")
    refused(tmp_path / "file.npz", r"numpy\.savez did not write")
    file = io.BytesIO()
    numpy.save(file, numpy.ones(2))
    (tmp_path / "file.npz").write_bytes(file.getvalue())
    refused(tmp_path / "file.npz", "is damaged")
