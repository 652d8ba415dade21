"""Show that this tree gives the same numbers as an older commit, for the tiny twin of every recipe.

    python tools/same_as.py COMMIT [PATTERN ...] [--bf16] [--one-at-a-time] [--keep FOLDER]

`same_as_recorder.py` runs the twins in both trees, on one thread each, and notes: every batch that is read (tensors,
sample names, their order), every training step's batch and losses, every update's gradients, metrics, the trained
model, the last checkpoint's tensors, and hashes of recipes, also of the old tree's recipe.json read by this one.
All bits must be equal. Exit status 0: they are; 1: they are not, or a twin does not run.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RECORDER = ROOT / "tools/same_as_recorder.py"


class Exempt(NamedTuple):
    """Facts whose bits may differ, where they agree to `TOLERANCE` when both trees compute in fp64."""

    recipe: str  # patterns of names, as of fnmatch
    fact: str
    reason: str


RECIPES: dict[str, str] = {}  # old name of a recipe: its name in this tree
FACTS: tuple[tuple[str, str], ...] = (("/target$", "/soft"),)  # regular expressions: old name of a fact -> new name
GONE: tuple[str, ...] = ()  # patterns of facts, by their new names, that this tree need not have
ADDED: tuple[str, ...] = ("metrics/*/format",)  # patterns of facts that the old tree need not have
EXEMPT: tuple[Exempt, ...] = (  # at most MOST_EXEMPT, and none can be for what data a run reads
    Exempt(
        "simmim_*vit_base_800ep",
        "*bias.table*",
        "BEiT's bias is one gather, which sums the gradients of the class token's rows in another order",
    ),
)
MOST_EXEMPT = 5
TOLERANCE = 1e-12  # of the largest number of a tensor
NEVER_EXEMPT = ("train/*", "val/*", "hash/*", "data/*", *(f"step */{n}" for n in ("image", "mask", "index", "name")))

Facts = dict[str, Any]


class Difference(NamedTuple):
    fact: str
    sentence: str


class Verdict(NamedTuple):
    """What came of one recipe: its differences in the order in which they came about."""

    recipe: str
    differences: list[Difference]
    tensors: int = 0  # compared
    numbers: int = 0  # names of samples and hashes count as numbers
    exempt: int = 0  # facts of `EXEMPT` that are near in fp64


def differences(old: Facts, new: Facts) -> list[Difference]:
    """Every fact that is not the same, or only on one side; `old` by its new names."""
    sentences = {name: _how(old[name], new.get(name)) for name in old if not _like(name, GONE) or name in new}
    sentences |= {name: "is new" for name in new if name not in old and not _like(name, ADDED)}
    return [Difference(name, f"{name} {how}") for name, how in sentences.items() if how]


def _how(old: Any, new: Any) -> str:
    """How a value differs from the old one, in words; empty where it does not."""
    if same(old, new):
        return ""
    if new is None:
        return "is missing"
    if isinstance(old, dict) and isinstance(new, dict):
        kinds = [f"{each['dtype']} {tuple(each['shape'])}" for each in (old, new)]
        return f"({kinds[0]}) has other bits" if kinds[0] == kinds[1] else f"is {kinds[1]} and was {kinds[0]}"
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        place = next(i for i, (one, other) in enumerate(zip(old, new)) if not same(one, other))
        return f"number {place} is {new[place]!r} and was {old[place]!r}"
    return f"is {new!r} and was {old!r}"


def same(old: Any, new: Any) -> bool:
    """Equal to the last bit: 0.0 is not -0.0 and 5 is not 5.0, but nan is nan."""
    return json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)


def near(old: Any, new: Any) -> bool:
    """Whether two facts of a run in fp64 agree to `TOLERANCE`."""
    if same(old, new):
        return True
    if isinstance(old, dict) and isinstance(new, dict):
        both = [np.frombuffer(base64.b64decode(each.get("fp64", ""))) for each in (old, new)]
        return old["shape"] == new["shape"] and len(both[0]) == len(both[1]) > 0 and _near(*both)
    return isinstance(old, float) and isinstance(new, float) and _near(np.array([old]), np.array([new]))


def _near(old: np.ndarray, new: np.ndarray) -> bool:
    return bool(np.abs(old - new).max() <= TOLERANCE * np.abs(old).max())


def compare(old: dict[str, Any], new: dict[str, Any] | None) -> Verdict:
    """Two records of one recipe; `new` is None where this tree has no such recipe."""
    name = RECIPES.get(old["recipe"], old["recipe"])
    if new is None:
        return Verdict(name, [Difference("", "this tree has no such recipe")])
    failed = {"the old tree": old["error"], "this tree": new["error"]}
    if any(failed.values()):
        return Verdict(name, [Difference("", f"fails in {tree}: {why}") for tree, why in failed.items() if why])
    facts = renamed(old["facts"])
    tensors = sum(isinstance(value, dict) for value in facts.values())
    numbers = sum(len(value) if isinstance(value, list) else 1 for value in facts.values()) - tensors
    return Verdict(name, differences(facts, new["facts"]), tensors, numbers)


def renamed(facts: Facts) -> Facts:
    """The facts of the old tree by the names that they have in this one."""
    found = {}
    for name, value in facts.items():
        for pattern, replacement in FACTS:
            name = re.sub(pattern, replacement, name)
        found[name] = value
    return found


def exempt(recipe: str, fact: str) -> bool:
    """Whether a difference is one of those that `EXEMPT` lists."""
    listed = any(fnmatchcase(recipe, each.recipe) and fnmatchcase(fact, each.fact) for each in EXEMPT)
    return listed and bool(fact) and not _like(fact, NEVER_EXEMPT)


def _like(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


class Trees:
    """The old tree and this one, where recorders run and leave their records in `place`."""

    def __init__(self, old: Path, new: Path, place: Path, *, at_once: bool = True, flags: tuple[str, ...] = ()):
        """flags: further ones of the recorders."""
        self.sources = {"old": old / "src", "new": new / "src"}
        self.place, self.at_once, self.flags = place, at_once, flags

    def records(self, patterns: list[str], *flags: str) -> tuple[dict[str, dict], dict[str, dict]]:
        """Records of the recipes in the old tree, and in this one, by new names."""
        names = {"old": [*patterns, *(old for old, new in RECIPES.items() if _like(new, tuple(patterns)))]}
        files = {side: self.place / f"{side}{'-double' if flags else ''}.jsonl" for side in self.sources}
        with contextlib.ExitStack() as stack:
            for side, file in files.items():
                arguments = [file, "--only", *names.get(side, patterns), *self.flags, *flags]
                running = stack.enter_context(self._recorder(side, *arguments))
                if not self.at_once:
                    running.wait()
        old, new = ([json.loads(line) for line in file.read_text("utf-8").splitlines()] for file in files.values())
        return {RECIPES.get(each["recipe"], each["recipe"]): each for each in old}, {
            each["recipe"]: each for each in new
        }

    def hashes(self, texts: dict[str, str]) -> dict[str, list[str]]:
        """What this tree finds for the hashes of recipes, from the old tree's recipe.json files: `read_again`."""
        given, answer = self.place / "recipes.json", self.place / "hashes.json"
        given.write_text(json.dumps(texts), encoding="utf-8")
        with self._recorder("new", answer, "--read", given):
            pass
        return json.loads(answer.read_text(encoding="utf-8"))

    @contextlib.contextmanager
    def _recorder(self, side: str, *arguments: Any) -> Iterator[subprocess.Popen]:
        """A recorder at work in one tree. Raises SystemExit at the end of the block where it did not end well."""
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        environment = os.environ | threads | {"PYTHONPATH": str(self.sources[side]), "CUDA_VISIBLE_DEVICES": ""}
        command, log = [sys.executable, RECORDER, *arguments], self.place / f"{side}.txt"
        with (
            log.open("w") as said,
            subprocess.Popen(command, env=environment, cwd=self.place, stdout=said, stderr=said) as running,
        ):
            yield running
        if running.returncode:
            raise SystemExit(f"the recorder stopped in the {side} tree:\n{log.read_text(encoding='utf-8')[-3000:]}")


def judge(trees: Trees, patterns: list[str]) -> list[Verdict]:
    """Compare every recipe of the old tree; what `EXEMPT` excuses is run and compared again in fp64."""
    old, new = trees.records(patterns)
    texts = {f"{name}/{size}": text for name, each in old.items() for size, text in each["saved"].items()}
    for key, (kept, migrated) in trees.hashes(texts).items():
        name, size = key.split("/")
        before, now = old[name]["facts"], new.get(name, {"facts": {}})["facts"]
        before[f"hash/old recipe.json, {size}"], now[f"hash/old recipe.json, {size}"] = before[f"hash/{size}"], kept
        if migrated != before[f"hash/{size}"]:  # a recipe has another shape by now, so its values are compared
            before[f"hash/{size}"] = migrated
            for facts in (before, now):
                facts.pop("hash/checkpoint", None)  # of the new shape too; `kept` says that old checkpoints go on
    verdicts = [compare(each, new.get(name)) for name, each in old.items()]
    excused = {v.recipe: [d.fact for d in v.differences if exempt(v.recipe, d.fact)] for v in verdicts}
    again = [name for name, facts in excused.items() if facts]
    if again:
        old, new = trees.records(again, "--double", "--precision=fp32")
    return [_excuse(v, excused[v.recipe], old, new) for v in verdicts]


def _excuse(verdict: Verdict, excused: list[str], old: dict[str, dict], new: dict[str, dict]) -> Verdict:
    """A verdict without those of its differences that are excused and whose values are near in fp64."""
    if not excused:
        return verdict
    before, now = renamed(old[verdict.recipe]["facts"]), new[verdict.recipe]["facts"]
    fine = {fact for fact in excused if fact in before and fact in now and near(before[fact], now[fact])}
    return verdict._replace(differences=[d for d in verdict.differences if d.fact not in fine], exempt=len(fine))


def tell(verdicts: list[Verdict], seconds: float) -> int:
    """Print the first difference of every recipe and a summary. Returns the exit status."""
    wrong = [verdict for verdict in verdicts if verdict.differences]
    for verdict in wrong:
        more = f" ({len(verdict.differences) - 1:,} more)" if len(verdict.differences) > 1 else ""
        print(f"{verdict.recipe}: {verdict.differences[0].sentence}{more}")
    tensors, numbers = (sum(getattr(verdict, what) for verdict in verdicts) for what in ("tensors", "numbers"))
    if count := sum(verdict.exempt for verdict in verdicts):
        print(f"{count:,} differ in bits and agree to {TOLERANCE} in fp64: {'; '.join(each.reason for each in EXEMPT)}")
    result = f"{len(wrong):,} not the same" if wrong or not verdicts else "all the same"
    print(f"{len(verdicts):,} recipes, {tensors:,} tensors, {numbers:,} numbers compared in {seconds:.0f} s: {result}")
    return 1 if wrong or not verdicts else 0


@contextlib.contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """The tree of a commit, in a git worktree that is gone afterwards."""
    git = ["git", "-C", str(ROOT), "worktree"]
    with tempfile.TemporaryDirectory(prefix="same_as_") as folder:
        tree = Path(folder) / "old"
        subprocess.run([*git, "add", "--quiet", "--detach", tree, commit], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", tree], check=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("commit", help="the older commit")
    parser.add_argument("patterns", nargs="*", default=["*"], help="names or patterns of recipes, such as 'swin_*'")
    parser.add_argument("--one-at-a-time", action="store_true", help="one tree after the other: one core is enough")
    parser.add_argument("--bf16", action="store_true", help="forward passes in bf16 instead of fp32: sees fewer bits")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep records and run folders of both trees here")
    args = parser.parse_args(argv)
    start = time.perf_counter()
    if len(EXEMPT) > MOST_EXEMPT:
        parser.error(f"EXEMPT lists {len(EXEMPT)} exceptions, and at most {MOST_EXEMPT} may be there")
    with checkout(args.commit) as old, tempfile.TemporaryDirectory(prefix="same_as_") as temporary:
        place = (args.keep or Path(temporary)).resolve()
        place.mkdir(parents=True, exist_ok=True)
        flags = (f"--precision={'bf16' if args.bf16 else 'fp32'}", *(["--keep"] if args.keep else []))
        trees = Trees(old, ROOT, place, at_once=not args.one_at_a_time, flags=flags)
        verdicts = judge(trees, args.patterns)
    return tell(verdicts, time.perf_counter() - start)


if __name__ == "__main__":
    sys.exit(main())
