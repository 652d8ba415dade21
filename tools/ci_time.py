"""How long the checks of an earlier commit take and how long the present ones, without the installation.

    python tools/ci_time.py COMMIT

Runs what `.ci/run` runs, `make lint test`, in a fresh copy of the commit and one of the working tree, one after the
other, with this Python, and the yardstick (benchmarks/yardstick.py) before, between and after. Wants a quiet machine,
and an environment with the extras `train`, `dev` and `peers` that suits both.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from yardstick import yardstick  # noqa: E402


class Taken(NamedTuple):
    """What the checks of one tree took."""

    seconds: float
    cpu: float  # seconds, of all processes

    def __str__(self) -> str:
        return f"{self.seconds:.0f} s ({self.cpu:.0f} s of CPU time)"


def checks(tree: Path) -> Taken:
    """Run lint and tests of a tree, their output into a file beside it. Raises SystemExit where they fail."""
    make = ["make", "--assume-old", ".venv/installed-for-test", f"BIN={Path(sys.executable).parent}", "lint", "test"]
    said = tree.with_suffix(".txt")
    with said.open("w") as output:
        before, start = _cpu(), time.perf_counter()
        ran = subprocess.run(make, cwd=tree, env=_environment(tree), stdout=output, stderr=subprocess.STDOUT)
        taken = Taken(time.perf_counter() - start, _cpu() - before)
    if ran.returncode:
        raise SystemExit(f"{said.read_text()[-4000:]}\n\nthe checks of {tree} failed; all they said is in {said}")
    return taken


def _environment(tree: Path) -> dict[str, str]:
    """muntin of the tree, and the same recorded cases for both trees."""
    environment = os.environ | {"PYTHONPATH": str(tree / "src")}
    cases = ROOT.parent / "shared" / "reference"
    return {"MUNTIN_REFERENCE": str(cases)} | environment if cases.is_dir() else environment


def _copy(tree: Path) -> None:
    """The working tree, with what is not committed, without what git ignores."""
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():  # git lists deleted files too
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="the earlier commit")
    parser.add_argument("--at-most", type=float, metavar="RATIO", help="exit with 1 when the ratio is above this")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="muntin_ci_time_"))
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder / "earlier"), options.commit], check=True)
    try:
        _copy(folder / "present")
        print(f"load average {os.getloadavg()[0]:.1f}\n{yardstick()}", flush=True)
        earlier = checks(folder / "earlier")
        print(f"{options.commit}: {earlier}\n{yardstick()}", flush=True)
        present = checks(folder / "present")
        print(f"the working tree: {present}\n{yardstick()}")
    finally:
        subprocess.run([*git, "remove", "--force", str(folder / "earlier")], check=True)
    ratio = present.seconds / earlier.seconds
    print(f"ratio {ratio:.2f} (CPU time {present.cpu / earlier.cpu:.2f}), {os.cpu_count()} cores")
    if options.at_most and ratio > options.at_most:
        raise SystemExit(f"the ratio is above {options.at_most}")


if __name__ == "__main__":
    main()
