"""Two processes on one recipe: the same losses as one, every validation sample counted once, one end for both."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from muntin.engine import checkpoint
from muntin.recipes import Recipe, get, to_json
from muntin.runs import run, tiny
from muntin.runs.lock import locked

SOON = 240  # seconds, on a busy machine; who waits for a process that is gone waits for half an hour
WORKER = """
import sys
from muntin.recipes import from_json
from muntin.runs import run
run(from_json(open(sys.argv[1]).read()), sys.argv[2])
"""
CHOOSING = """
import os, sys
from muntin.ops.fast.choice import Choice, in_use, use
from muntin.recipes import from_json
from muntin.runs import run

module = sys.modules[run.__module__]
fit = module.fit

def telling(*args, **kwargs):
    print("tuned code:", in_use().name, file=sys.stderr)
    return fit(*args, **kwargs)

module.fit = telling
with use(Choice("as process " + os.environ["RANK"], frozenset())):
    run(from_json(open(sys.argv[1]).read()), sys.argv[2])
"""


Two = tuple[list[int], list[str]]  # exit codes of both processes, and what they said


@pytest.fixture
def both(processes, free_port) -> Callable[[Sequence[str | Path]], Two]:
    """Run a script with its arguments as each of two processes, as `torchrun --nproc-per-node 2` would."""

    def run(command: Sequence[str | Path]) -> Two:
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
        ended = processes(command, [place | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)], SOON)
        return [process.code for process in ended], [process.output + process.errors for process in ended]

    return run


@pytest.fixture
def start_two(both) -> Callable[[Recipe, Path], Two]:
    """Run a recipe on two processes, into the folder `two`."""

    def run(recipe: Recipe, folder: Path) -> Two:
        (folder / "recipe.json").write_text(to_json(recipe))
        (folder / "worker.py").write_text(WORKER)
        return both([folder / "worker.py", folder / "recipe.json", folder / "two"])

    return run


@pytest.fixture
def train_two(both) -> Callable[..., Two]:
    """`muntin train` on two processes with something happening to it (sabotage.py)."""

    def train(recipe: Recipe, folder: Path, what: str, *options: str) -> Two:
        (folder / "recipe.json").write_text(to_json(recipe))
        return both([*sabotaged(folder, what), *options])

    return train


def sabotaged(folder: Path, what: str) -> list[str]:
    script = str(Path(__file__).with_name("sabotage.py"))
    return [script, what, str(folder / "recipe.json"), "--out", str(folder / "two")]


def lines(out: Path, split: str) -> list[dict]:
    found = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line for line in found if line["split"] == split]


@pytest.mark.parametrize("name", ["digits", "digits_simmim", "digits_distil"])
def test_two_processes_equal_one(name, start_two, tmp_path):
    recipe = tiny(get(name))
    recipe = replace(
        recipe,
        model=replace(recipe.model, drop_path_rate=0.0),  # each process draws its own
        training=replace(recipe.training, precision="fp32", log_every=1),
        data=replace(recipe.data, limit=61, val_batch_size=7),  # 61 held out: the processes' shares differ
    )
    codes, said = start_two(recipe, tmp_path)
    assert codes == [0, 0], "\n".join(said)
    assert "epoch" in said[0]
    assert "epoch" not in said[1]  # process 0 alone prints
    two = tmp_path / "two"
    run(recipe, tmp_path / "one", quiet=True)
    for mine, theirs in zip(lines(tmp_path / "one", "train"), lines(two, "train"), strict=True):
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=1e-4)  # sums in another order, six updates long
    for mine, theirs in zip(lines(tmp_path / "one", "val"), lines(two, "val"), strict=True):
        for metric in mine.keys() & {"top1", "top5", "loss"}:
            assert theirs[metric] == pytest.approx(mine[metric], rel=1e-4)
    summary = json.loads((two / "summary.json").read_text())
    assert summary["val_samples"] == 61
    if name == "digits":
        assert summary["top1"] * 61 == pytest.approx(round(summary["top1"] * 61))


def test_process_0_decides_where_tuned_code_is_used(both, tmp_path):
    (tmp_path / "recipe.json").write_text(to_json(tiny(get("digits"))))
    (tmp_path / "worker.py").write_text(CHOOSING)
    codes, said = both([tmp_path / "worker.py", tmp_path / "recipe.json", tmp_path / "two"])
    assert codes == [0, 0], "\n".join(said)
    assert all("tuned code: as process 0" in each for each in said)
    assert json.loads((tmp_path / "two/environment.json").read_text())["tuned_code"]["name"] == "as process 0"


def test_picture_that_one_process_cannot_read_ends_both_before_anything_is_written(start_two, tmp_path):
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / "data" / part / name).mkdir(parents=True)
            for i in range(4):
                Image.new("L", (30, 30), 40 * i).save(tmp_path / "data" / part / name / f"{i}.png")
    (tmp_path / "data" / "val" / "cat" / "1.png").write_text("no picture")  # process 1 reads every second one
    recipe = tiny(get("digits"))
    recipe = replace(
        recipe,
        data=replace(recipe.data, path=str(tmp_path / "data"), limit=0),
        training=replace(recipe.training, batch_size=4),
    )
    codes, said = start_two(recipe, tmp_path)
    assert 0 not in codes
    assert "UserError: the first pictures of another process cannot be used" in said[0]
    assert "1.png is not a picture" in said[1]
    assert not (tmp_path / "two").exists()


def everything() -> Recipe:
    """Mixup, erasing, drop path, EMA and accumulation, with checkpoints in the middle of an epoch."""
    recipe = tiny(get("digits"))
    return replace(
        recipe,
        model=replace(recipe.model, drop_path_rate=0.3),
        augment=replace(recipe.augment, mixup=0.8, erasing=0.5),
        training=replace(recipe.training, batch_size=12, accumulate=2, ema=0.9, save_steps=2, workers=1),
    )


def state(folder: Path) -> tuple[str, bytes]:
    newest = checkpoint.latest(folder / "two" / "checkpoints")
    assert newest
    return newest.name, (newest / "state.safetensors").read_bytes()


def test_two_processes_asked_to_stop_go_on_as_if_they_never_had(train_two, tmp_path):
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    assert train_two(everything(), tmp_path / "whole", "nothing")[0] == [0, 0]
    codes, said = train_two(everything(), tmp_path / "parts", "terminate_process_1", "--save-steps", "0")
    assert codes == [130, 130]
    step = state(tmp_path / "parts")[0]
    assert step in ("step_00000003", "step_00000004")
    assert all(f"interrupted after step {step[-1]}, saved in" in words for words in said)
    assert train_two(everything(), tmp_path / "parts", "nothing", "--resume", "--workers", "0")[0] == [0, 0]
    assert state(tmp_path / "parts") == state(tmp_path / "whole")


def test_a_killed_process_ends_the_other_with_a_sentence(train_two, tmp_path):
    codes, said = train_two(everything(), tmp_path, "kill_process_1")
    assert codes == [1, -signal.SIGKILL]
    assert "muntin: another process of this run has ended" in said[0]
    assert "Traceback" not in said[0]
    assert state(tmp_path)[0] == "step_00000002"


def test_a_save_that_fails_ends_both_processes_with_a_sentence(train_two, tmp_path):
    codes, said = train_two(everything(), tmp_path, "fill_the_disk")
    assert codes == [1, 1]
    assert "muntin: the checkpoint of step 4 could not be written" in said[0]
    assert "muntin: process 0 could not save; its message says why" in said[1]
    assert state(tmp_path)[0] == "step_00000002"


def test_a_folder_in_use_is_refused_to_both_processes(train_two, tmp_path):
    with locked(tmp_path / "two"):
        codes, said = train_two(everything(), tmp_path, "nothing")
    assert codes == [2, 2]
    assert "another run is at work in" in said[0]
    assert "muntin: process 0 cannot use" in said[1]
    assert not (tmp_path / "two").exists()


@pytest.mark.parametrize(
    ("what", "says"), [("kill_process_1", "Signal 9"), ("terminate_torchrun", "interrupted after")]
)
def test_torchrun_ends_soon(what, says, tmp_path):
    (tmp_path / "recipe.json").write_text(to_json(everything()))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, *sabotaged(tmp_path, what)],
        capture_output=True,
        text=True,
        timeout=SOON,
    )
    assert done.returncode != 0
    assert says in done.stderr
    assert state(tmp_path)[0] >= "step_00000002"
