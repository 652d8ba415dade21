"""Pickles that are valid but made by hand, as torch.save would never write them."""

import io
import pickle
import pickletools

import pytest
import torch

from muntin.files.pickles import dry_run

STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK%ctQ"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def run(program: bytes):
    return dry_run(io.BytesIO(b"\x80\x02" + program + b"."))


def storage(numel: int) -> bytes:
    return STORAGE % numel


def ints(*numbers: int) -> bytes:
    return b"(" + b"".join(pickle.dumps(n, 2)[2:-1] for n in numbers) + b"t"


def tensor(numel: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    start = pickle.dumps(offset, 2)[2:-1]
    hooks = b"ccollections\nOrderedDict\n)R"
    return REBUILD + b"(" + storage(numel) + start + ints(*size) + ints(*stride) + b"\x89" + hooks + b"tR"


def test_a_tensor_is_found_with_its_memory():
    claims = run(tensor(12, 2, (2, 3), (5, 1)))
    assert claims.storages["0"].nbytes == 48
    assert claims.tensor_bytes == 24
    assert run(tensor(12, 0, (1 << 40, 0), (1, 1))).tensor_bytes == 0  # empty, whatever the other size


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (13,), (1,)),  # longer than its memory
        (7, (2, 3), (5, 1)),  # ends behind it
        (0, (1 << 30,), (0,)),  # one number, a billion times
        (0, (2, 3), (1,)),
        (-1, (2,), (1,)),
    ],
)
def test_a_tensor_that_does_not_fit_its_memory_is_refused(offset, size, stride):
    with pytest.raises(ValueError, match=r"does not fit|described in a way"):
        run(tensor(12, offset, size, stride))


GB = b"\x8a\x05\x00\x00\x00\x00\x01"  # 2**32


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (b"c__builtin__\nbytearray\n" + GB + b"\x85R", "builtins.bytearray"),
        (b"ctorch\nTensor\n" + GB + b"\x85R", "torch.Tensor"),
        (b"ctorch\nFloatStorage\n" + GB + b"\x85R", "calls torch.FloatStorage"),
        (b"ctorch._utils\n_rebuild_sparse_tensor\n)R", "_rebuild_sparse_tensor"),
        (b"cos\nsystem\nX\x04\x00\x00\x00true\x85R", "objects of os.system"),
        (b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R", "encodes text"),
        (b"ccollections\nOrderedDict\n}b", "state to an object without one"),
        (REBUILD + b"}b", "state to an object without one"),
        (b"K\x01)R", "calls something that is no function"),
        (storage(1)[:-1] + b"\x85Q", "asks for memory"),
        (storage(1) + storage(2), "asks for memory"),  # the same name for other memory
        (b"0", "instruction POP"),
        (b"h\x07", "damaged"),
        (b"t", "damaged"),
        (b"R", "damaged"),
    ],
)
def test_what_torch_save_never_writes_is_refused(program, reason):
    with pytest.raises(ValueError, match=reason):
        run(program)


def test_doubling_text_by_its_codec_is_refused():
    """Forty calls of 14 bytes would make a thousand gigabytes."""
    double = b"".join(b"q\x01c_codecs\nencode\nh\x01X\x03\x00\x00\x00hex\x86R" for _ in range(40))
    with pytest.raises(ValueError, match="encodes text"):
        run(b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x06\x00\x00\x00latin1\x86R" + double)


def test_instructions_are_those_of_torch():
    """What torch.save writes for a training state, all of it."""
    stream = io.BytesIO()
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 300, "best": 81.2, "big": 2**40}
    torch.save(state, stream, _use_new_zipfile_serialization=False)
    stream.seek(0)
    for _ in range(3):  # magic number, version, system
        assert dry_run(stream) == ({}, 0)
    claims = dry_run(stream)
    assert claims.tensor_bytes == 4 * (3 * 6 + 2)  # weights, two moments each, two counts of steps
    assert len(list(pickletools.genops(stream))) > len(claims.storages) == 8  # the next pickle lists their names
