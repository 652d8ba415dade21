"""A training process, killed at random moments and resumed, gives bit for bit what an unbroken one gives.

Run as a script, this file is the `muntin train` that gets killed: it ends itself by SIGKILL when it comes to the given
phase for the n-th time, and writes down which samples every update saw.
"""

import functools
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from muntin.engine import checkpoint
from muntin.recipes import get, to_json
from muntin.runs import tiny

UPDATES = 18
PHASES = {  # phase -> how often an unbroken run comes to it
    "forward": 2 * UPDATES,
    "backward": 2 * UPDATES,
    "optimizer": UPDATES,
    "averaging": UPDATES,
    "between": UPDATES,
    "logging": 12,
    "saving": 90,
    "evaluating": 3,
    "loading": 1,  # in a resumed run only
}
SPEED = ("samples_per_second", "data_wait", "memory_gib")


def recipe(task: str):
    """Everything that is random or has a state at once, on a few digits: 3 epochs of 6 updates of 2 micro-steps."""
    twin = tiny(get("digits" if task == "classification" else "digits_simmim"))
    augment = replace(twin.augment, erasing=0.5)
    if task == "classification":
        augment = replace(augment, mixup=0.8, cutmix=1.0, smoothing=0.1)
    return replace(
        twin,
        model=replace(twin.model, drop_path_rate=0.3),
        data=replace(twin.data, limit=48),
        augment=augment,
        schedule=replace(twin.schedule, epochs=3, warmup_epochs=0.5),
        training=replace(
            twin.training, batch_size=8, accumulate=2, ema=0.9, save_steps=4, log_every=2, precision="fp32"
        ),
    )


Start = Callable[[list[str]], tuple[int, str]]  # runs a script with its arguments; exit code, and what it said


def live(begin: Start, folder: Path, phase: str, count: int, workers: int) -> int:
    """Start or resume the run in `folder`, to be killed at the `count`-th `phase`; the exit code, -9 when it was."""
    resume = checkpoint.exist(folder / "run" / "checkpoints")
    command = [__file__, str(folder / "seen.jsonl"), phase, str(count), str(folder / "recipe.json")]
    options = ["--out", str(folder / "run"), "--workers", str(workers), "--resume" if resume else "--overwrite"]
    code, said = begin([*command, *options])
    assert code in (0, -signal.SIGKILL), said[-4000:]
    return code


def begin_afresh(command: list[str]) -> tuple[int, str]:
    """In a Python that has imported nothing: its sets have another order than those of `begin`."""
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def begin(processes) -> Start:
    def run(command: list[str]) -> tuple[int, str]:
        [ended] = processes(command)
        return ended.code, ended.output + ended.errors

    return run


def start(folder: Path, task: str) -> Path:
    folder.mkdir()
    (folder / "recipe.json").write_text(to_json(recipe(task)))
    return folder


def results(folder: Path) -> dict:
    """All that a run leaves, without times."""
    newest = checkpoint.latest(folder / "run" / "checkpoints")
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    return {
        "step": newest.name,
        "numbers": (newest / "state.json").read_text(),
        "metrics": [{k: v for k, v in line.items() if k not in SPEED} for line in lines],
        "checkpoints": sorted(path.name for path in newest.parent.iterdir()),
        "best": checkpoint.read_manifest(newest.parent / "best")["step"],
    }


def tensors(folder: Path) -> dict:
    run = folder / "run"
    newest, best = checkpoint.latest(run / "checkpoints"), run / "checkpoints" / "best"
    state, best_state = (load_file(place / "state.safetensors") for place in (newest, best))
    model = load_file(run / "model" / "model.safetensors")
    return state | {f"best/{k}": v for k, v in best_state.items()} | {f"exported/{k}": v for k, v in model.items()}


def seen(folder: Path) -> dict[tuple[int, int], set[str]]:
    """What each micro-step of each update saw: sample numbers and pixels, in all lives of the run."""
    found: dict[tuple[int, int], set[str]] = {}
    for text in (folder / "seen.jsonl").read_text().splitlines():
        line = json.loads(text)
        found.setdefault((line["update"], line["micro"]), set()).add(json.dumps(line))
    return found


def assert_equal_runs(killed: Path, whole: Path) -> None:
    assert results(killed) == results(whole)
    ours, theirs = tensors(killed), tensors(whole)
    assert ours.keys() == theirs.keys()
    assert {name.partition("/")[0] for name in ours} == {"model", "ema", "optimizer", "best", "exported"}
    assert [name for name in ours if ours[name].numpy().tobytes() != theirs[name].numpy().tobytes()] == []
    assert seen(killed) == seen(whole)
    assert len(seen(whole)) == 2 * UPDATES


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Callable[[str], Path]:
    """The folder of a run of a task that was left in peace."""

    @functools.cache
    def run(task: str) -> Path:
        folder = start(tmp_path_factory.mktemp(task) / "whole", task)
        assert live(begin_afresh, folder, "never", 0, workers=0) == 0
        return folder

    return run


def kill_and_resume(begin: Start, task: str, folder: Path, seed: int) -> Path:
    """Kill a run once to three times, at moments drawn from `seed`, then let it end."""
    draw, killed = random.Random(seed), start(folder / "killed", task)
    for _ in range(draw.randint(1, 3)):
        phase = draw.choice(list(PHASES))
        live(begin, killed, phase, draw.randint(1, PHASES[phase]), workers=draw.choice([0, 1, 4]))
    assert live(begin, killed, "never", 0, workers=draw.choice([0, 1, 4])) == 0
    return killed


@pytest.mark.parametrize(("task", "seed"), [("classification", 7), ("classification", 16), ("simmim", 9)])
def test_a_killed_run_ends_as_an_unbroken_one(task, seed, begin, unbroken, tmp_path):
    assert_equal_runs(kill_and_resume(begin, task, tmp_path, seed), unbroken(task))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_a_killed_run_ends_as_an_unbroken_one_whenever_it_is_killed(seed, begin, unbroken, tmp_path):
    task = ("classification", "simmim")[seed % 2]
    assert_equal_runs(kill_and_resume(begin, task, tmp_path, seed), unbroken(task))


def main(log: Path, phase: str, count: int, arguments: list[str]) -> int:
    """`muntin train`, killed at the `count`-th `phase`."""
    import torch

    from muntin.cli.main import main as muntin
    from muntin.engine import ema, parallel, step
    from muntin.engine import log as log_file
    from muntin.files import writing

    left = {phase: count}

    def at(name: str) -> None:
        left[name] = left.get(name, 0) - 1
        if left[name] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(place: object, function: str, name: str) -> None:
        """Come to phase `name` whenever `place.function` is called."""
        original = getattr(place, function)

        def patched(*given, **named):
            at(name)
            return original(*given, **named)

        setattr(place, function, patched)

    before(torch.optim.AdamW, "step", "optimizer")
    before(ema.Ema, "update", "averaging")
    before(log_file.Log, "progress", "between")
    before(checkpoint, "load_file", "loading")
    before(parallel, "gather", "evaluating")
    for module, function in ((os, "fsync"), (os, "rename"), (os, "link"), (os, "rmdir"), (os, "mkdir")):
        before(module, function, "saving")

    forward, backward = step.Step._forward, torch.Tensor.backward
    save_file, add = writing.save_file, log_file.Log._add

    def watched_forward(self, model, update, micro, batch):
        pixels = hashlib.sha256(batch.inputs["image"].numpy().tobytes()).hexdigest()
        line = {"update": update, "micro": micro, "index": batch.indices.tolist(), "pixels": pixels}
        with log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        at("forward")
        return forward(self, model, update, micro, batch)

    def broken_backward(self, *given, **named):
        self.register_hook(lambda gradient: at("backward"))
        return backward(self, *given, **named)

    def half_a_file(tensors, file, metadata):
        save_file(tensors, file, metadata)
        content = Path(file).read_bytes()
        Path(file).write_bytes(content[: len(content) // 2])
        at("saving")
        Path(file).write_bytes(content)

    def half_a_line(self, line):
        text = json.dumps(line)
        file = self._out / "metrics.jsonl"
        before_it = file.read_bytes()
        file.write_bytes(before_it + text[: len(text) // 2].encode())
        at("logging")
        file.write_bytes(before_it)
        add(self, line)

    step.Step._forward, torch.Tensor.backward = watched_forward, broken_backward
    writing.save_file, log_file.Log._add = half_a_file, half_a_line
    return muntin(["train", *arguments])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
