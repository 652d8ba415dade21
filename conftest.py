"""What tests of all rooms share. One thread for each process, as they share the cores."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors import safe_open

os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)
os.fsync = lambda handle: None  # thousands of small files; none is to survive a crash of the machine


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """A function that gives a free port of this machine, another one each time.

    Each process of tests has sixteen ports of its own, below those that the system gives to whoever asks for one (from
    32768 on): nobody takes the port between the question and its use.
    """
    first = 20_000 + os.getpid() % 750 * 16
    ports = itertools.cycle(range(first, first + 16))
    return lambda: next(filter(_is_free, ports))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.fixture
def reference() -> Callable[[str], tuple[dict[str, torch.Tensor], dict[str, str]]]:
    """A function from a case such as "simmim/mask_generator" to its tensors and metadata."""

    def load(case: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        repository = Path(__file__).parent
        places = [repository.parent / "shared" / "reference", repository / "tests" / "vectors"]
        if "MUNTIN_REFERENCE" in os.environ:
            places = [Path(os.environ["MUNTIN_REFERENCE"])]
        for place in places:
            if (path := place / f"{case}.safetensors").exists():
                with safe_open(path, "pt") as file:
                    return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
        return pytest.skip(f"no recorded vectors {case} in {' or '.join(map(str, places))}; set MUNTIN_REFERENCE")

    return load


class Ended(NamedTuple):
    """What a process left."""

    code: int  # of a signal that ended it the negative number
    output: str
    errors: str


class Processes:
    """Runs Python scripts in processes that have imported torch and muntin already (tests/nursery.py)."""

    def __init__(self, nursery: subprocess.Popen, folder: Path):
        self._nursery, self._folder, self._numbers = nursery, folder, itertools.count()

    def __call__(
        self, command: Sequence[str | Path], environments: Sequence[dict[str, str]] = ({},), seconds: float = 240
    ) -> list[Ended]:
        """Run a script with its arguments, once for each set of further environment variables, side by side.

        Each process has a session of its own. One that takes too long is killed, and fails the test.
        """
        started = [self._start(command, more) for more in environments]
        return [self._end(*each, seconds) for each in started]

    def _start(self, command: Sequence[str | Path], more: dict[str, str]) -> tuple[int, Path, Path]:
        output, errors = (self._folder / f"{next(self._numbers)}.txt" for _ in range(2))
        request = {
            "arguments": [str(argument) for argument in command],
            "environment": os.environ | more,
            "folder": os.getcwd(),
            "output": str(output),
            "errors": str(errors),
        }
        return self._ask(request), output, errors

    def _end(self, pid: int, output: Path, errors: Path, seconds: float) -> Ended:
        code = self._ask({"wait": pid, "seconds": seconds})
        said = output.read_text(), errors.read_text()
        assert code is not None, f"still at work after {seconds} s: {said}"
        return Ended(code, *said)

    def _ask(self, request: dict[str, Any]) -> Any:
        print(json.dumps(request), file=self._nursery.stdin, flush=True)
        return json.loads(self._nursery.stdout.readline())


@pytest.fixture(scope="session")
def processes(tmp_path_factory) -> Iterator[Processes]:
    """A function that runs a script in processes of its own, without the seconds that imports take."""
    script = Path(__file__).parent / "tests" / "nursery.py"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, str(script)], start_new_session=True, **pipes) as nursery:
        yield Processes(nursery, tmp_path_factory.mktemp("said"))
