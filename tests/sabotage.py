"""`muntin train`, to which something happens after its third step (`limit_memory`: before its first).

python sabotage.py WHAT ARGUMENTS...
"""

import errno
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable

from muntin.cli.main import main
from muntin.engine import log, parallel
from muntin.files import writing


def after_step(number: int, act: Callable[[], object]) -> None:
    """Do something after step `number` of this life of the run."""
    progress, calls = log.Log.progress, []

    def then(self, *given, **named):
        progress(self, *given, **named)
        calls.append(1)
        if len(calls) == number:
            act()

    log.Log.progress = then


def before_steps(act: Callable[[], object]) -> None:
    """Do something when the run says that it begins."""
    enter = log.Log.__enter__

    def then(self):
        act()
        return enter(self)

    log.Log.__enter__ = then


def kill_a_worker() -> None:
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)


def terminate_all() -> None:
    """As a batch system does: everything that belongs to the run, workers too."""
    os.killpg(0, signal.SIGTERM)


def interrupt_all() -> None:
    """As a terminal does."""
    os.killpg(0, signal.SIGINT)


def kill_process_1() -> None:
    if parallel.rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def terminate_process_1() -> None:
    if parallel.rank() == 1:
        os.kill(os.getpid(), signal.SIGTERM)


def terminate_torchrun() -> None:
    if parallel.rank() == 0:
        os.kill(os.getppid(), signal.SIGTERM)


def fill_the_disk() -> None:
    def full(tensors, file, metadata):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))

    writing.save_file = full


def limit_file_size() -> None:
    """The system itself refuses to write more than that; safetensors says it in its own way."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))


def limit_memory() -> None:
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 20 * 2**20, resource.RLIM_INFINITY))


if __name__ == "__main__":
    if sys.argv[1] == "limit_memory":
        before_steps(limit_memory)
    elif sys.argv[1] != "nothing":
        after_step(3, globals()[sys.argv[1]])
    code = main(["train", *sys.argv[2:]])
    parallel.cleanup()
    sys.exit(code)
