"""Two processes on one recipe: the same losses as one, and every validation sample counted once."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from muntin.recipes import get, run, tiny, to_json
from muntin.recipes.recipe import Recipe

WORKER = """
import sys
from muntin.recipes import from_json, run
run(from_json(open(sys.argv[1]).read()), sys.argv[2])
"""


def on_two_processes(recipe: Recipe, folder: Path) -> Path:
    """Run a recipe as `torchrun --nproc-per-node 2` would; the run folder."""
    codes, said = start_two(recipe, folder)
    assert codes == [0, 0], "\n".join(said)
    assert "epoch" in said[0]
    assert "epoch" not in said[1]  # process 0 alone prints
    return folder / "two"


def start_two(recipe: Recipe, folder: Path) -> tuple[list[int], list[str]]:
    """Exit codes of both processes, and what they said."""
    (folder / "recipe.json").write_text(to_json(recipe))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = os.environ | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder / "recipe.json"), str(folder / "two")],
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=240)[0] for process in processes]
    return [process.returncode for process in processes], said


def lines(out: Path, split: str) -> list[dict]:
    found = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line for line in found if line["split"] == split]


@pytest.mark.parametrize("name", ["digits", "digits_simmim"])
def test_two_processes_equal_one(name, tmp_path):
    recipe = tiny(get(name))
    recipe = replace(
        recipe,
        model=replace(recipe.model, drop_path_rate=0.0),  # each process draws its own
        training=replace(recipe.training, precision="fp32", log_every=1),
        data=replace(recipe.data, limit=61, val_batch_size=7),  # 61 held out: the processes' shares differ
    )
    two = on_two_processes(recipe, tmp_path)
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


def test_picture_that_one_process_cannot_read_ends_both_before_anything_is_written(tmp_path):
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
