import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from muntin.engine import checkpoint
from muntin.engine.toys_test import Toy, Toys, assert_equal_states, fit_toy, top1, without_speed
from muntin.errors import UserError
from muntin.tasks.task import Best


@pytest.mark.parametrize("stopped_at", [(0, 2), (1, 3), (1, 11)])
def test_a_resumed_run_equals_one_that_never_stopped(tmp_path, stopped_at):
    def run(out, train, **more):
        settings = {"batch_size": 4, "accumulate": 2, "ema": 0.9, "log_every": 4, "seed": 3, "checkpointing": True}
        task = Toy(dropout=0.3, norm=True)
        return fit_toy(out, task, train, training=settings, evaluate=top1, **more)

    def interrupt(epoch, number):
        if (epoch, number) == stopped_at:
            os.kill(os.getpid(), signal.SIGTERM)

    whole = run(tmp_path / "whole", Toys(2))
    train = Toys(2)
    train.before_batch = interrupt
    with pytest.raises(KeyboardInterrupt, match="saved in"):
        run(tmp_path / "parts", train)
    torch.manual_seed(123)
    resumed = run(tmp_path / "parts", Toys(2), resume=True)
    assert without_speed(resumed.history) == without_speed(whole.history)
    assert (resumed.metrics, without_speed([resumed.best])) == (whole.metrics, without_speed([whole.best]))
    assert_equal_states(resumed.task.state_dict(), whole.task.state_dict())
    last = [
        load_file(checkpoint.latest(tmp_path / n / "checkpoints") / "state.safetensors") for n in ("parts", "whole")
    ]
    assert_equal_states(*last)
    assert any(name.startswith("ema/") for name in last[0])


@pytest.mark.parametrize("stopped_at", [(0, 3), (1, 1), (1, 9), (2, 2)])
def test_a_run_of_updates_goes_on_as_if_it_had_never_stopped(tmp_path, stopped_at):
    """14 updates in epochs of 6, with evaluations and checkpoints in the middle of them."""

    def run(out, train, **more):
        training = {"batch_size": 4, "accumulate": 2, "ema": 0.9, "log_every": 4, "eval_every": 0, "eval_steps": 5}
        schedule = {"kind": "poly", "epochs": 0, "updates": 14, "warmup_epochs": 0, "warmup_updates": 4}
        task = Toy(dropout=0.3, norm=True)
        return fit_toy(out, task, train, training=training, schedule=schedule, evaluate=top1, **more)

    def interrupt(epoch, number):
        if (epoch, number) == stopped_at:
            os.kill(os.getpid(), signal.SIGTERM)

    whole = run(tmp_path / "whole", Toys(2))
    assert [line["step"] for line in whole.history if line["split"] == "val"] == [5, 10, 14]
    assert [line["epoch"] for line in whole.history if line["split"] == "val"] == [1, 2, 3]
    assert [line["step"] for line in whole.history if line["split"] == "train"] == [4, 6, 8, 12, 14]
    train = Toys(2)
    train.before_batch = interrupt
    with pytest.raises(KeyboardInterrupt, match="saved in"):
        run(tmp_path / "parts", train)
    resumed = run(tmp_path / "parts", Toys(2), resume=True)
    assert without_speed(resumed.history) == without_speed(whole.history)
    assert (resumed.metrics, without_speed([resumed.best])) == (whole.metrics, without_speed([whole.best]))
    assert_equal_states(resumed.task.state_dict(), whole.task.state_dict())


def test_a_finished_run_can_be_resumed_to_its_result(tmp_path):
    first = fit_toy(tmp_path, evaluate=top1)
    again = fit_toy(tmp_path, evaluate=top1, resume=True)
    assert again[:3] == first[:3]
    assert_equal_states(again.task.state_dict(), first.task.state_dict())


def test_a_resumed_run_can_be_made_longer(tmp_path):
    fit_toy(tmp_path, schedule={"epochs": 1})
    result = fit_toy(tmp_path, schedule={"epochs": 2}, resume=True)
    assert [line["step"] for line in result.history] == [6, 12]


def test_resuming_falls_back_to_the_checkpoint_before_a_damaged_one(tmp_path):
    whole = fit_toy(tmp_path)
    newest = checkpoint.latest(tmp_path / "checkpoints")
    (newest / "state.safetensors").write_bytes(b"")
    again = fit_toy(tmp_path, resume=True)
    assert_equal_states(again.task.state_dict(), whole.task.state_dict())
    assert checkpoint.damage(newest) == ""


def test_a_best_that_a_crash_left_unmarked_is_marked_on_resuming(tmp_path, monkeypatch):
    scores = {"evaluate": lambda task: {"score": 1.0}, "best": Best("score", higher=True)}
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "mark_best", lambda folder: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fit_toy(tmp_path, **scores)
    assert not (tmp_path / "checkpoints" / "best").exists()
    fit_toy(tmp_path, **scores, resume=True)
    assert checkpoint.read_manifest(tmp_path / "checkpoints" / "best")["step"] == 6


def test_a_checkpoint_of_another_recipe_is_not_resumed(tmp_path):
    fit_toy(tmp_path, recipe="one")
    with pytest.raises(UserError, match=r"made by another recipe \(hash one, not two\)"):
        fit_toy(tmp_path, recipe="two", resume=True)


def test_resuming_without_a_checkpoint_is_refused_and_leaves_no_folder(tmp_path):
    with pytest.raises(UserError, match="nothing to resume"):
        fit_toy(tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"training": {"ema": 0.9}}, "without an EMA"),
        ({"training": {"batch_size": 8}}, "6 updates an epoch and this run has 3"),
        ({"task": Toy(norm=True)}, "holds another model"),
    ],
)
def test_resuming_another_run_is_refused(tmp_path, changes, says):
    fit_toy(tmp_path)
    with pytest.raises(UserError, match=says):
        fit_toy(tmp_path, resume=True, **changes)
