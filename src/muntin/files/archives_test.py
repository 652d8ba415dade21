import io
import struct
import subprocess
import sys
import zipfile

import pytest
import torch

from muntin.errors import UserError
from muntin.files import read_tensors
from muntin.files.archives import MAX_ENTRIES

STATE = {"weight": torch.arange(600.0).view(20, 30), "bias": torch.ones(20)}


@pytest.fixture
def archive(tmp_path):
    """An archive of torch.save, its entries changed: {name: bytes} -> path."""
    torch.save(STATE, tmp_path / "good.pth")
    with zipfile.ZipFile(tmp_path / "good.pth") as good:
        entries = {name: good.read(name) for name in good.namelist()}

    def write(change: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED):
        path = tmp_path / "file.pth"
        with zipfile.ZipFile(path, "w", compression) as file:
            for name, content in (entries | (change or {})).items():
                file.writestr(name, content)
        return path

    return write


def refused(path, reason):
    with pytest.raises(UserError, match=reason) as error:
        read_tensors(path)
    assert "\n" not in str(error.value)


def test_the_archive_itself_is_read(archive):
    assert torch.equal(read_tensors(archive())["weight"], STATE["weight"])


def test_a_zip_bomb_is_refused(archive, tmp_path):
    path = archive({"good/data/0": bytes(64 << 20)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    refused(path, "is compressed, which torch.save never does")


def test_entries_that_lie_over_each_other_are_refused(archive):
    """The table of contents gives one part of the file many names."""
    path = archive()
    content = path.read_bytes()
    at = content.index(b"PK\x01\x02")
    table = content[at : content.rindex(b"PK\x05\x06")]
    entry = table[: 46 + struct.unpack_from("<H", table, 28)[0]]
    more = b"".join(entry.replace(b"good/data.pkl", b"good/%08d" % i) for i in range(100))
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 100, 100, len(more), at, 0)
    path.write_bytes(content[:at] + more + end)
    refused(path, r"not as torch\.save writes it|torch\.save did not write")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_other_archives_are_refused(archive, tmp_path):
    refused(archive({"good/data/0": bytes(80)}), r"data/0 is missing or does not have its 2400 bytes")
    refused(archive({"good/constants.pkl": b""}), "TorchScript")
    refused(archive({"elsewhere": b""}), r"torch\.save did not write")
    refused(archive({"good/data.pkl": bytes(17 << 20)}), "description has 17825792 bytes")
    path = archive()
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
    refused(path, "not as torch.save writes it|is damaged")
    with zipfile.ZipFile(archive(), "a") as file:
        file.writestr("good/data.pkl", b"")
    refused(tmp_path / "file.pth", "two entries of one name")


def test_an_archive_of_very_many_entries_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "many.pth", "w") as file:
        for i in range(MAX_ENTRIES + 1):
            file.writestr(f"a/{i}", b"")
    refused(tmp_path / "many.pth", f"more than {MAX_ENTRIES}")


def test_a_flipped_bit_in_the_tensors_is_found_by_the_checksum(archive):
    path = archive()
    content = bytearray(path.read_bytes())
    content[content.index(STATE["weight"].numpy().tobytes()) + 77] ^= 4
    path.write_bytes(content)
    refused(path, "checksum")


def test_an_old_file_with_memory_that_is_not_there_is_refused(tmp_path):
    stream = io.BytesIO()
    torch.save(STATE, stream, _use_new_zipfile_serialization=False)
    claimed = stream.getvalue().replace(b"M\x58\x02", b"J\x00\x00\x00\x40")  # 600 numbers become 2**30
    assert claimed != stream.getvalue()
    (tmp_path / "file.pth").write_bytes(claimed)
    refused(tmp_path / "file.pth", "cut off")
    (tmp_path / "file.pth").write_bytes(stream.getvalue()[:-1])
    refused(tmp_path / "file.pth", "cut off")


HUNGRY = """
import io, resource, sys, zipfile
from pathlib import Path
import torch
from muntin.files import read_tensors
from muntin.errors import UserError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in map(Path, sys.argv[1:]):
    try:
        read_tensors(path)
        raise SystemExit(f"{path} was read")
    except UserError:
        pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_small_files_never_take_much_memory(archive, tmp_path):
    """Claims of gigabytes in files of a few kB, in a process that may not have them."""
    bytearray_of_4_gb = b"\x80\x02c__builtin__\nbytearray\n\x8a\x05\x00\x00\x00\x00\x01\x85R."
    (tmp_path / "call").mkdir()
    called = archive({"good/data.pkl": bytearray_of_4_gb}).rename(tmp_path / "call" / "file.pth")
    (tmp_path / "length.safetensors").write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    text = b'{"a":{"dtype":"F32","shape":[1073741824],"data_offsets":[0,4294967296]}}'
    (tmp_path / "shape.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    stream = io.BytesIO()
    torch.save(STATE, stream, _use_new_zipfile_serialization=False)
    (tmp_path / "old.pth").write_bytes(stream.getvalue().replace(b"M\x58\x02", b"J\x00\x00\x00\x40"))
    files = [called, tmp_path / "length.safetensors", tmp_path / "shape.safetensors", tmp_path / "old.pth"]
    ran = subprocess.run([sys.executable, "-c", HUNGRY, *map(str, files)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(ran.stdout) * unit < 100 << 20
