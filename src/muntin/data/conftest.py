"""What several tests of this room need: small pictures on disk."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def pictures(tmp_path):
    """A function that writes small pictures, each of its own colour, at paths below a folder; returns the folder."""

    def write(*paths: str) -> Path:
        for number, path in enumerate(paths):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 256, (10, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / path)
        return tmp_path

    return write


@pytest.fixture
def shard():
    """A function that writes a tar file of the given members, {name: content}, and returns its path."""

    def write(path: Path, members: dict[str, bytes], how: int = tarfile.PAX_FORMAT) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w", format=how) as tar:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return path

    return write


@pytest.fixture
def samples():
    """A function from {key: label} to the members of a shard: small pictures, each of its own, and labels."""

    def make(labels: dict[str, object]) -> dict[str, bytes]:
        members: dict[str, bytes] = {}
        for key, label in labels.items():
            pixels = np.random.default_rng(list(key.encode())).integers(0, 256, (10, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(file := io.BytesIO(), "png")
            members |= {f"{key}.png": file.getvalue(), f"{key}.cls": str(label).encode()}
        return members

    return make
