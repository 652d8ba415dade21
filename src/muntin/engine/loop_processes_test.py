import json
import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from muntin.engine import checkpoint
from muntin.engine.toys_test import Broken, Toy, Toys, assert_equal_states, fit_toy
from muntin.errors import RunError

SHARED = {"batch_size": 8, "accumulate": 2, "ema": 0.5, "keep_last": 9}


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory, processes, free_port):
    """Folder of what two processes did (`_jobs`), and what each of them said."""
    out = tmp_path_factory.mktemp("two")
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ended = processes([__file__, out], [place | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)])
    said = [process.output + process.errors for process in ended]
    assert [process.code for process in ended] == [0, 0], "".join(said)
    return out, said


def _jobs(out):
    """What each of two processes does: this file's main part, when it is run as a script."""
    from muntin.engine import parallel

    parallel.setup("cpu")
    rank = parallel.rank()
    for job in ("plain", "broken", "interrupted", "skipping"):
        train, task = Toys(2, rank, 2), Toy()
        if rank == 1:
            nn.init.zeros_(task.head.weight)  # fit gives every process the weights of process 0
            if job in ("broken", "skipping"):
                task = Broken("loss", when=23)
            if job == "interrupted":
                train.before_batch = lambda epoch, number: number == 1 and os.kill(os.getpid(), signal.SIGTERM)
        try:
            result = fit_toy(
                out / job, task, train, training=SHARED | {"skip_nonfinite": 9 if job == "skipping" else 0}
            )
            save_file(result.task.state_dict(), out / f"{job}_{rank}.safetensors")
        except (RunError, KeyboardInterrupt) as stop:
            print(f"{job}: {type(stop).__name__}: {stop}", flush=True)
    parallel.cleanup()


def test_two_processes_equal_one(two_processes, tmp_path):
    out, _ = two_processes
    one = fit_toy(tmp_path, training=SHARED)
    two = [json.loads(line) for line in (out / "plain" / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one.history], rel=1e-6)
    assert [line["grad_norm"] for line in two] == pytest.approx([line["grad_norm"] for line in one.history], rel=1e-5)
    weights = [load_file(out / f"plain_{rank}.safetensors") for rank in range(2)]
    assert_equal_states(*weights)
    for name, tensor in one.task.state_dict().items():
        # a batch is summed in another order, and AdamW divides by the root of tiny squares
        torch.testing.assert_close(weights[0][name], tensor, rtol=1e-5, atol=2e-6)


def test_a_run_of_two_processes_can_be_resumed_by_one(two_processes):
    out, _ = two_processes
    resumed = fit_toy(out / "plain", training=SHARED, resume=True)
    assert_equal_states(resumed.task.state_dict(), load_file(out / "plain_0.safetensors"))


def test_all_processes_stop_when_one_loses_its_loss(two_processes):
    _, said = two_processes
    assert "broken: RunError: stopped at step" in said[0]
    assert "not finite on process 1" in said[0]
    assert "it is the loss itself" in said[1]
    assert "row23.png" in said[1]


def test_all_processes_skip_an_update_when_one_loses_its_loss(two_processes):
    out, _ = two_processes
    weights = [load_file(out / f"skipping_{rank}.safetensors") for rank in range(2)]
    assert_equal_states(*weights)
    assert all(torch.isfinite(tensor).all() for tensor in weights[0].values())
    _, numbers = checkpoint.load(checkpoint.latest(out / "skipping" / "checkpoints"))
    orders = [torch.randperm(24, generator=torch.Generator().manual_seed(epoch)).tolist() for epoch in range(3)]
    assert numbers["skipped"] == sum(order.index(23) % 4 > 1 for order in orders) > 0  # of four, process 1 takes two


def test_all_processes_stop_at_one_step_when_one_is_asked_to(two_processes):
    out, said = two_processes
    for words in said:
        assert "interrupted: KeyboardInterrupt: interrupted after step 1" in words
    assert checkpoint.latest(out / "interrupted" / "checkpoints").name == "step_00000001"


if __name__ == "__main__":
    _jobs(Path(sys.argv[1]))
