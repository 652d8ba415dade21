"""Recorded cases: where they lie, what one holds, and that every recorded number gets compared."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

REPOSITORY = Path(__file__).parents[2]


def folder() -> Path:
    """MUNTIN_REFERENCE if set, else ../shared/reference if it is there, else the small set of the repository."""
    if chosen := os.environ.get("MUNTIN_REFERENCE"):
        return Path(chosen)
    shared = REPOSITORY.parent / "shared" / "reference"
    return shared if shared.is_dir() else REPOSITORY / "tests" / "vectors"


def files() -> list:
    """Every case of the folder as a pytest parameter with the id <system>/<case>."""
    found = sorted(folder().glob("*/*.safetensors"))
    if not found:
        raise FileNotFoundError(f"no reference cases (<system>/<case>.safetensors) in {folder()}")
    return [pytest.param(path, id=f"{path.parent.name}/{path.stem}") for path in found]


class Case:
    """One file: `weights/<official name>`, `input/*`, `output/*`, `grad/<official name>`, and metadata."""

    def __init__(self, path: Path):
        with safe_open(path, "pt") as file:
            self.metadata = file.metadata() or {}
            self.tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        self.config = json.loads(self.metadata.get("config", "{}"))
        self._compared: set[str] = set()

    def has(self, start: str) -> bool:
        return any(key.startswith(start) for key in self.tensors)

    def under(self, prefix: str) -> dict[str, Tensor]:
        return {key.removeprefix(prefix): t for key, t in self.tensors.items() if key.startswith(prefix)}

    def input(self, name: str, dtype: torch.dtype) -> Tensor:
        tensor = self.tensors[f"input/{name}"]
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    def compare(self, key: str, actual: Tensor | None, atol: float) -> None:
        """Compare with what was recorded under a key; nothing happens where nothing was recorded."""
        if (error := self._error(key, actual)) is not None:
            worst = error.max().item()
            assert worst <= atol, f"{key} is off by {worst:.2e}, allowed {atol:.0e}"

    def compare_map(self, key: str, actual: Tensor, typical: float, worst: float) -> None:
        """Compare a whole map: the median error, and the worst one as a share of the largest entry (but at least 1)."""
        if (error := self._error(key, actual)) is not None:
            median = error.median().item()
            assert median <= typical, f"{key} is typically off by {median:.2e}, allowed {typical:.0e}"
            self.compare(key, actual, worst * max(1.0, self.tensors[key].abs().max().item()))

    def _error(self, key: str, actual: Tensor | None) -> Tensor | None:
        if key not in self.tensors:
            return None
        self._compared.add(key)
        expected = self.tensors[key].double()
        assert actual is not None, f"{key} was recorded and is not computed"
        actual = actual.detach().double()
        assert actual.shape == expected.shape or actual.numel() == expected.numel() == 1, (
            f"{key} is {tuple(actual.shape)}, recorded {tuple(expected.shape)}"
        )
        assert actual.isfinite().all(), f"{key} is not finite"
        return (actual.reshape_as(expected) - expected).abs()

    def compare_gradients(self, gradients: dict[str, Tensor], relative: float) -> None:
        """Compare gradients under official names, each to a share of its largest recorded entry."""
        for name, expected in self.under("grad/").items():
            largest = expected.abs().max().item()
            self.compare(f"grad/{name}", gradients.get(name), relative * largest if largest else 1e-12)

    def assert_all_compared(self) -> None:
        recorded = {key for key in self.tensors if key.startswith(("output/", "grad/"))}
        assert recorded, "the case records no outputs"
        assert not recorded - self._compared, f"recorded but never compared: {sorted(recorded - self._compared)}"
