import json
import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from muntin.engine.toys_test import Broken, Toy, Toys, assert_equal_states, fit_toy, without_speed
from muntin.errors import RunError
from muntin.tasks.task import Losses


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("layer", r"cross_entropy nan\); first layer with a non-finite output: blocks\.1 \(depth 1 of 2\)"),
        ("loss", r"cross_entropy inf\); the output of every layer is finite, so it is the loss itself"),
        ("gradient", r"the loss is finite; .*going backward from the loss: blocks\.0\.0\.weight \(1 in all\)"),
    ],
)
def test_a_run_that_is_no_longer_finite_says_where_and_leaves_the_weights(tmp_path, where, says, accumulate):
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0)).tolist()
    step = order.index(13) // 4 + 1
    task = Broken(where)
    with pytest.raises(
        RunError, match=rf"stopped at step {step} \(epoch 1\): .*{says}.*; files: row\d+\.png, "
    ) as stop:
        fit_toy(tmp_path, task, training={"accumulate": accumulate, "checkpointing": True})
    assert "row13.png" in str(stop.value)
    assert all(torch.isfinite(p).all() for p in task.parameters())


ROWS = (13, 4)  # of two updates of each epoch


class BrokenTwice(Toy):
    """Gives an infinite loss when either of two rows comes; its batch norm then meets a NaN."""

    def losses(self, batch):
        hit = any(f"row{row}.png" in batch.names for row in ROWS)
        if hit:
            batch = batch._replace(inputs={"image": batch.inputs["image"] * float("nan")})
        losses = super().losses(batch)
        return Losses({name: loss * (float("inf") if hit else 1) for name, loss in losses.terms.items()})


def _hit_steps(epochs=3):
    """Steps, from 1, of the updates in which one of ROWS is."""
    orders = [torch.randperm(24, generator=torch.Generator().manual_seed(epoch)).tolist() for epoch in range(epochs)]
    return sorted({6 * e + order.index(row) // 4 + 1 for e, order in enumerate(orders) for row in ROWS})


def test_updates_that_are_not_finite_are_skipped_and_counted(tmp_path, capsys):
    hit = _hit_steps()
    training = {"skip_nonfinite": len(hit), "log_every": 1, "save_steps": 1, "ema": 0.9, "keep_last": 99}
    result = fit_toy(tmp_path, BrokenTwice(norm=True), training=training)
    lines = [line for line in result.history if line["split"] == "train"]
    assert sorted({*range(1, 19)} - {line["step"] for line in lines}) == hit
    assert lines[-1]["skipped"] == len(hit)
    assert "skipped" not in lines[0]
    assert all(torch.isfinite(tensor).all() for tensor in result.task.state_dict().values())
    said = capsys.readouterr().out
    assert all(f"step {step} skipped: loss nan, gradient norm nan ({n} of at most {len(hit)})" in said
               for n, step in enumerate(hit, 1))  # fmt: skip
    states = [load_file(path / "state.safetensors") for path in sorted((tmp_path / "checkpoints").glob("step_*"))]
    for step in hit[1:]:
        assert_equal_states(states[step - 1], states[step - 2])
    assert not torch.equal(states[-1]["model/head.weight"], states[hit[-1] - 2]["model/head.weight"])


@pytest.mark.parametrize("stop", [2, 9])
def test_skipping_goes_on_alike_after_a_resume_and_ends_after_as_many(tmp_path, stop):
    hit = _hit_steps()
    training = {"skip_nonfinite": len(hit) - 1, "log_every": 1}
    says = rf"stopped at step {hit[-1]} \(epoch 3\): loss is not finite"
    with pytest.raises(RunError, match=says):
        fit_toy(tmp_path / "whole", BrokenTwice(), training=training)
    train = Toys()
    train.before_batch = lambda epoch, number: 6 * epoch + number == stop and os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        fit_toy(tmp_path / "parts", BrokenTwice(), train, training=training)
    with pytest.raises(RunError, match=says):
        fit_toy(tmp_path / "parts", BrokenTwice(), training=training, resume=True)
    whole, parts = ((tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("whole", "parts"))
    assert without_speed(map(json.loads, parts)) == without_speed(map(json.loads, whole))


def test_a_batch_that_is_not_finite_is_blamed_itself(tmp_path):
    train = Toys()
    train.rows[3, 2] = float("nan")
    with pytest.raises(RunError, match="the batch's 'image' is not finite before any layer"):
        fit_toy(tmp_path, train=train)
