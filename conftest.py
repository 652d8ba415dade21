"""One thread for each process of tests and for each process that a test starts: they share the cores."""

import itertools
import os
import socket
from collections.abc import Callable

import pytest
import torch

os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


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
