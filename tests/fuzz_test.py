"""Every reader of files meets 2,000 damaged ones: only documented errors come out, in bounded time and memory.

The damage is drawn by a seed, so a failure names a case that can be repeated. Each reader runs in a process of its own:
a crash in a decoder's C code then fails one test, and the limits on memory touch nothing else.
"""

import functools
import io
import json
import multiprocessing
import os
import random
import re
import signal
import struct
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save as safetensors_bytes

from muntin.data.decoding import picture
from muntin.data.sources.csv import Table
from muntin.data.sources.shards import shards
from muntin.engine import checkpoint
from muntin.errors import LONGEST, RunError, UserError
from muntin.files.npz import write_npz
from muntin.files.tensors import read_tensors
from muntin.recipes import index as cookbook
from muntin.recipes import read_recipe, to_json
from muntin.weights.folder import read_config

resource = pytest.importorskip("resource", reason="limits on memory need a Unix system")

CASES = 2_000
SECONDS = 2.0  # of processor time for one file of a few hundred bytes to a few kB
MEMORY = 2**28  # bytes by which a process may grow over all its cases
ADDRESSES = 2**31  # bytes that it may ask for beyond what it has; so that a failure here does not harm the machine


# ---- damage

HUGE = [0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]
WORDS = [b"", b"0", b"-1", b"1e999", b"NaN", b"null", b"true", b"[]", b"{}", b'""', b'"x"', b"[[[1]]]", b"9" * 5_000]
WORDS += [b"[" * 100_000, b'{"a":' * 20_000, b"\xff\xfe", b'"\\ud800"', b"\0", b'"../../x"', b'"' + b"x" * 5_000 + b'"']


def flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[early(data, rng)] ^= 1 << rng.randrange(8)


def cut_off(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def leave_out(data: bytearray, rng: random.Random) -> None:
    at = early(data, rng)
    del data[at : at + rng.choice((1, 4, 64, 512))]


def insert(data: bytearray, rng: random.Random) -> None:
    at = early(data, rng)
    data[at:at] = rng.randbytes(rng.choice((1, 4, 64, 512)))


def duplicate(data: bytearray, rng: random.Random) -> None:
    at, to, size = early(data, rng), early(data, rng), rng.choice((1, 16, 512, len(data)))
    data[to:to] = data[at : at + size]


def enlarge(data: bytearray, rng: random.Random) -> None:
    """A length, count or offset that says too much."""
    at, code = early(data, rng), rng.choice(("B", "<H", ">H", "<I", ">I", "<Q", ">Q"))
    number = struct.pack(code, rng.choice(HUGE) & (2 ** (8 * struct.calcsize(code)) - 1))
    data[at : at + len(number)] = number


def splice(data: bytearray, rng: random.Random, other: bytes) -> None:
    """The beginning of one file and the end of another."""
    del data[rng.randrange(len(data)) :]
    data += other[rng.randrange(len(other)) :]


def reword(data: bytearray, rng: random.Random) -> None:
    """Another value in a text of values: JSON, CSV, the header of safetensors or tar."""
    places = [match.span() for match in re.finditer(rb"[^,:\s\[\]{}\0]+", data[: 2**16])]
    if places:
        begin, end = rng.choice(places)
        data[begin:end] = rng.choice(WORDS)


def early(data: bytearray, rng: random.Random) -> int:
    """A place, more often near the beginning, where formats keep what decides."""
    return int(len(data) * rng.random() ** rng.choice((1, 3)))


def damaged(seeds: list[bytes], case: int) -> bytes:
    """File number `case`: one of `seeds` with one to three kinds of damage; now and then an empty file."""
    rng = random.Random(case)
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 3))):
        kinds = [flip, cut_off, leave_out, insert, duplicate, enlarge, functools.partial(splice, other=seeds[0])]
        kinds += [reword, reword, enlarge]
        if data:
            rng.choice(kinds)(data, rng)
    return b"" if case % 500 == 499 else bytes(data)


def with_png_sums(data: bytes) -> bytes:
    """With the check sum of each chunk made right, so that damage gets past it."""
    png, at = bytearray(data), 8
    while at + 12 <= len(png):
        end = at + 8 + int.from_bytes(png[at : at + 4])
        png[end : end + 4] = struct.pack(">I", zlib.crc32(png[at + 4 : end]))[: max(len(png) - end, 0)]
        at = end + 4
    return bytes(png)


def with_tar_sums(data: bytes) -> bytes:
    """With the check sum of each header made right."""
    tar = bytearray(data)
    for at in range(0, len(tar) - 511, 512):
        if tar[at + 257 : at + 262] == b"ustar":
            tar[at + 148 : at + 156] = b" " * 8
            tar[at + 148 : at + 156] = b"%06o\0 " % sum(tar[at : at + 512])
    return bytes(tar)


# ---- readers


class Reader(NamedTuple):
    """Whole files to begin with, and what reads one: `read(content, empty folder to use)`."""

    seeds: Callable[[Path], list[bytes]]
    read: Callable[[bytes, Path], object]
    repair: Callable[[bytes], bytes] = bytes
    """Makes check sums right in every second damaged file."""


def pixels(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8))


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture_files(kind: str, *modes: str, several: bool = False) -> list[bytes]:
    """A few small pictures of a format: modes, metadata, compression, and an animation where it knows them."""
    exif = Image.Exif()
    exif[0x0112] = 6
    told = {"exif": exif.tobytes(), "icc_profile": bytes(100)} if kind in ("jpeg", "png", "webp", "tiff") else {}
    files = [encoded(pixels(0).convert(mode), kind, **told) for mode in modes]
    if kind == "jpeg":
        files.append(encoded(pixels(1), kind, progressive=True))
    if kind == "tiff":
        files += [encoded(pixels(1), kind, compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg")]
    if several:
        files.append(encoded(pixels(0), kind, save_all=True, append_images=[pixels(1), pixels(2)]))
    return files


def read_picture(content: bytes, folder: Path) -> None:
    picture.as_mode(picture.decode_picture(io.BytesIO(content), "x"), "RGB")


def table_files(folder: Path) -> list[bytes]:
    for name in ("a", "b", "c"):
        pixels(0).save(folder / f"{name}.png")
    return [b"path,label,split\na.png,cat,train\nb.png,dog,val\nc.png,cat,train\n", b'path,label\n"a.png",1\nb.png,2\n']


def read_table(content: bytes, folder: Path) -> None:
    (folder / "list.csv").write_bytes(content)
    Table(folder / "list.csv")


def recipe_files(folder: Path) -> list[bytes]:
    digits, own = cookbook.get("digits"), cookbook.get("train")
    windows = replace(own, model=own.model.with_config(window=(4, 4), depths=(1, 1), heads=(1, 2)))
    return [to_json(each).encode() for each in (digits, own, windows)]


def read_one_recipe(content: bytes, folder: Path) -> None:
    (folder / "recipe.json").write_bytes(content)
    read_recipe(folder)


def config_files(folder: Path) -> list[bytes]:
    (folder / "model.safetensors").write_bytes(safetensors_bytes({"a": torch.zeros(2)}))
    config = {"format": "muntin/1", "kind": "classifier", "model": "swin_tiny", "config": {"depths": [1, 1]}}
    config |= {"num_classes": 2, "classes": ["cat", "dog"], "preprocess": {"image_size": [8, 8], "mean": [0.5]}}
    return [json.dumps(config, indent=2).encode()]


def read_one_config(content: bytes, folder: Path) -> None:
    (folder / "config.json").write_bytes(content)
    read_config(folder)


def tensors() -> dict[str, torch.Tensor]:
    return {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.zeros(3, dtype=torch.int64), "c": torch.ones(())}


def safetensors_files(folder: Path) -> list[bytes]:
    return [safetensors_bytes(tensors(), {"format": "pt"}), safetensors_bytes({"w": torch.zeros(40).half()})]


def torch_files(folder: Path) -> list[bytes]:
    """As torch writes now (a zip file), and as it did before (a row of pickles)."""
    files = []
    for new in (True, False):
        for content in ({"model": tensors(), "epoch": 3}, tensors()):
            file = io.BytesIO()
            torch.save(content, file, _use_new_zipfile_serialization=new)
            files.append(file.getvalue())
    return files


def npz_files(folder: Path) -> list[bytes]:
    write_npz(folder / "w.npz", {f"params/{key}": tensor for key, tensor in tensors().items()})
    return [(folder / "w.npz").read_bytes()]


def npy_files(folder: Path) -> list[bytes]:
    """Arrays by themselves: in an archive, most damage would end at its check sums."""
    npz_files(folder)
    with zipfile.ZipFile(folder / "w.npz") as archive:
        return [archive.read(name) for name in archive.namelist()]


def read_npy(content: bytes, folder: Path) -> None:
    with zipfile.ZipFile(folder / "w.npz", "w") as archive:
        archive.writestr("a.npy", content)
    read_tensors(folder / "w.npz")


def read_weights(content: bytes, folder: Path, name: str) -> None:
    (folder / name).write_bytes(content)
    for tensor in read_tensors(folder / name).values():
        tensor.clone()  # what is mapped is read now


def shard_files(folder: Path) -> list[bytes]:
    """Shards with either kind of label, in each format of tar, one with a name that needs an extended header."""
    files = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        stem = "0" * (20 if form == tarfile.USTAR_FORMAT else 200)
        members = [(f"{stem}.png", encoded(pixels(0), "png")), (f"{stem}.cls", b"0")]
        members += [("1.jpg", encoded(pixels(1), "jpeg")), ("1.json", b'{"label": "dog"}')]
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=form) as tar:
            for name, content in members:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        files.append(file.getvalue())
    return files


def read_shard(content: bytes, folder: Path) -> None:
    (folder / "0.tar").write_bytes(content)
    source = shards.Shards([str(folder / "0.tar")])
    for index in range(len(source)):
        source.read(index)


def checkpoint_files(folder: Path) -> list[bytes]:
    """The three files of a checkpoint, each with its name before it: `sealed` and `unsealed` put them back."""
    checkpoint.save(folder / "good", tensors(), {"update": 3, "best": 0.5}, step=3, recipe="abc")
    names = (checkpoint.MANIFEST, checkpoint.NUMBERS, checkpoint.TENSORS)
    return [(folder / "good" / name).read_bytes() for name in names]


def read_checkpoint(content: bytes, folder: Path, file: str) -> None:
    """With one file of it damaged after it was written."""
    before = (folder / "good" / file).read_bytes()
    (folder / "good" / file).write_bytes(content)
    try:
        checkpoint.load(folder / "good")
    finally:
        (folder / "good" / file).write_bytes(before)


def read_sealed_checkpoint(content: bytes, folder: Path, file: str) -> None:
    """With a manifest that vouches for the damage, as if it had been there when it was written."""
    checkpoint.save(
        folder / "sealed", tensors(), {"update": 3}, step=3, add=lambda new: (new / file).write_bytes(content)
    )
    checkpoint.load(folder / "sealed")


READERS = {
    "jpeg": Reader(lambda folder: picture_files("jpeg", "RGB", "L", "CMYK"), read_picture),
    "png": Reader(
        lambda folder: picture_files("png", "RGB", "L", "P", "RGBA", "I;16", several=True), read_picture, with_png_sums
    ),
    "webp": Reader(lambda folder: picture_files("webp", "RGB", "RGBA", several=True), read_picture),
    "tiff": Reader(lambda folder: picture_files("tiff", "RGB", "L", "CMYK", "1", several=True), read_picture),
    "bmp": Reader(lambda folder: picture_files("bmp", "RGB", "L", "1"), read_picture),
    "gif": Reader(lambda folder: picture_files("gif", "RGB", "L", several=True), read_picture),
    "ppm": Reader(lambda folder: picture_files("ppm", "RGB", "L", "1"), read_picture),
    "table": Reader(table_files, read_table),
    "recipe": Reader(recipe_files, read_one_recipe),
    "config": Reader(config_files, read_one_config),
    "safetensors": Reader(safetensors_files, functools.partial(read_weights, name="w.safetensors")),
    "npz": Reader(npz_files, functools.partial(read_weights, name="w.npz")),
    "npy": Reader(npy_files, read_npy),
    "pth": Reader(torch_files, functools.partial(read_weights, name="w.pth")),
    "shard": Reader(shard_files, read_shard, with_tar_sums),
}
for number, file in enumerate((checkpoint.MANIFEST, checkpoint.NUMBERS, checkpoint.TENSORS)):
    READERS[f"checkpoint {file}"] = Reader(
        lambda folder, number=number: [checkpoint_files(folder)[number]], functools.partial(read_checkpoint, file=file)
    )
for number, file in enumerate((checkpoint.NUMBERS, checkpoint.TENSORS), 1):
    READERS[f"sealed {file}"] = Reader(
        lambda folder, number=number: [checkpoint_files(folder)[number]],
        functools.partial(read_sealed_checkpoint, file=file),
    )


# ---- the test


@pytest.fixture
def folder(tmp_path) -> Iterator[Path]:
    """In memory where the system has such a place: a disk would be busy with the same few files for minutes."""
    if os.access("/dev/shm", os.W_OK):
        with tempfile.TemporaryDirectory(dir="/dev/shm") as inside:
            yield Path(inside)
    else:
        yield tmp_path


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_end_in_one_sentence(name, folder):
    """... or are read, where the damage leaves them whole; undamaged ones always are."""
    assert in_a_process(fuzz, name, folder) == []


def test_the_watch_notices_what_it_watches_for(tmp_path, monkeypatch):
    def too_slow(content: bytes, folder: Path) -> None:
        end = time.process_time() + SECONDS + 0.1
        while content != seed and time.process_time() < end:
            pass

    def too_large(content: bytes, folder: Path) -> None:
        try:
            bytes(2 * ADDRESSES if content != seed else 0)
        except MemoryError as error:
            raise UserError("no") from error

    def undocumented(content: bytes, folder: Path) -> None:
        if content != seed:
            raise KeyError("a")

    def refuses(content: bytes, folder: Path) -> None:
        raise UserError("no")

    seed = b"seed"
    monkeypatch.setitem(globals(), "SECONDS", 0.1)
    for read, complaint in (
        (too_slow, "took 0."),
        (too_large, "asked for too much memory"),
        (undocumented, "KeyError('a')"),
        (refuses, "a whole file is refused: no"),
        (lambda content, folder: os.kill(os.getpid(), signal.SIGKILL), "ended with -9"),
    ):
        READERS["watched"] = Reader(lambda folder: [seed], read)
        try:
            assert complaint in in_a_process(fuzz, "watched", tmp_path)[0]
        finally:
            del READERS["watched"]


def fuzz(name: str, folder: Path) -> list[str]:
    """What is wrong with the answers of a reader, up to three complaints."""
    reader, complaints = READERS[name], []
    seeds = reader.seeds(folder)
    for seed in seeds:
        try:
            reader.read(seed, folder)
        except UserError as error:
            return [f"a whole file is refused: {error}"]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for case in range(CASES):
        start = time.process_time()
        content = damaged(seeds, case)
        complaint = answer(functools.partial(reader.read, reader.repair(content) if case % 2 else content, folder))
        if (seconds := time.process_time() - start) > SECONDS:
            complaint = f"took {seconds:.1f} s"
        if complaint:
            complaints.append(f"case {case}: {complaint}")
        if len(complaints) == 3:
            return complaints
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return [*complaints, f"grew by {grown:,} bytes"] if grown > MEMORY else complaints


def answer(read: Callable[[], object]) -> str:
    """What is wrong with how a reader answers one file; "" where it reads it, or refuses it in one sentence."""
    try:
        read()
    except (UserError, RunError) as error:
        message, cause = str(error), error
        while cause := cause.__cause__ or cause.__context__:
            if isinstance(cause, MemoryError):
                return "asked for too much memory"
        if "\n" in message.strip() or not 0 < len(message) <= LONGEST + 5:
            return f"no sentence, {len(message)} characters: {message[:200]!r}"
    except BaseException as error:
        return f"{error!r:.300}"
    return ""


def in_a_process(do: Callable[[str, Path], list[str]], *arguments) -> list[str]:
    """The answer of a process that is limited in memory and processor time; a complaint where it crashed."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_limited, args=(do, arguments, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        process.join()
        return [f"ended with {process.exitcode}"]
    finally:
        process.join()


def _limited(do: Callable, arguments: tuple, sender) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ADDRESSES,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (120, 120))  # a decoder that never comes back
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    picture.PIXEL_LIMIT = 2**20  # a picture of 0.4 GB is allowed; here the limit itself is what is tried
    os.fsync = lambda handle: None  # thousands of checkpoints: nothing is to survive a crash of the machine
    sender.send(do(*arguments))
