"""Where processes begin with everything imported: a server that forks one for each line of JSON on its standard input.

Importing torch, what its optimizers import, and muntin takes a process four seconds of work; tests of runs that are
killed, interrupted and resumed need dozens of processes. The fixture `processes` (conftest.py) talks to this script.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import time


def serve() -> list[str]:
    """Answer requests until there are no more. Returns in the new processes alone, the arguments of each."""
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = wait(request["wait"], request["seconds"])
        elif answer := os.fork():
            pass
        else:
            return settle(**request)
        print(json.dumps(answer), flush=True)
    sys.exit()


def wait(pid: int, seconds: float) -> int | None:
    """Exit code of a process, of one that a signal has ended the signal's negative number; killed after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def settle(arguments: list[str], environment: dict[str, str], folder: str, output: str, errors: str) -> list[str]:
    """Make the process one of its own: session, environment, working directory, streams."""
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for stream, path, mode in ((0, os.devnull, os.O_RDONLY), (1, output, os.O_WRONLY), (2, errors, os.O_WRONLY)):
        os.dup2(os.open(path, mode | os.O_CREAT), stream)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    return arguments


def main() -> None:

    import muntin.cli.main
    import muntin.cli.train
    import muntin.data.transforms.vision
    import muntin.runs

    muntin.data.transforms.vision.functional()
    sys.argv = serve()
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
