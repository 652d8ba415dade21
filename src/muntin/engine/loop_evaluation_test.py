import os
import signal

import pytest
import torch
from safetensors.torch import load_file, save_file

from muntin.engine import checkpoint
from muntin.engine.toys_test import Toys, assert_equal_states, fit_toy, top1, without_speed
from muntin.errors import UserError
from muntin.tasks.task import Best


def test_the_average_is_evaluated_exported_and_returned(tmp_path):
    seen = []

    def export(task, folder):
        save_file(task.state_dict(), folder / "model.safetensors")

    def look(task):
        seen.append({name: tensor.clone() for name, tensor in task.state_dict().items()})
        assert not task.training
        return {"top1": 0.5}

    result = fit_toy(tmp_path, training={"ema": 0.99}, evaluate=look, on_save=export)
    newest = checkpoint.latest(tmp_path / "checkpoints")
    saved = load_file(newest / "state.safetensors")
    for name, tensor in result.task.state_dict().items():
        assert torch.equal(tensor, seen[-1][name])
        assert torch.equal(tensor, saved[f"ema/{name}"])
        assert torch.equal(tensor, load_file(newest / "model.safetensors")[name])
    assert not torch.equal(saved["model/head.weight"], saved["ema/head.weight"])
    assert all(p.requires_grad for p in result.task.parameters())


@pytest.mark.parametrize("failing", [1, 3])
def test_an_evaluation_that_fails_is_made_up_for_on_resuming(tmp_path, failing):
    calls = []

    def evaluate(task):
        calls.append(1)
        if len(calls) == failing:
            raise UserError("no picture")
        return top1(task)

    whole = fit_toy(tmp_path / "whole", evaluate=top1)
    with pytest.raises(UserError, match="no picture"):
        fit_toy(tmp_path / "parts", evaluate=evaluate)
    parts = fit_toy(tmp_path / "parts", evaluate=evaluate, resume=True)
    assert without_speed(parts.history) == without_speed(whole.history)
    assert (parts.metrics, without_speed([parts.best])) == (whole.metrics, without_speed([whole.best]))


@pytest.mark.parametrize(("higher", "best_epoch"), [(True, 2), (False, 3)])
def test_the_best_evaluation_is_kept(tmp_path, higher, best_epoch):
    scores = iter([0.4, 0.7, 0.2, 0.5])
    result = fit_toy(
        tmp_path,
        evaluate=lambda task: {"score": next(scores)},
        best=Best("score", higher),
        schedule={"epochs": 4},
        training={"keep_last": 1, "save_every": 0},
    )
    assert result.best["epoch"] == best_epoch
    assert result.metrics == {"score": 0.5}
    assert checkpoint.load(tmp_path / "checkpoints" / "best")[1]["update"] == 6 * best_epoch
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["best", "step_00000024"]


def test_evaluations_and_checkpoints_come_as_often_as_wanted(tmp_path):
    training = {"eval_every": 2, "save_every": 3, "keep_last": 9, "log_every": 4}
    result = fit_toy(tmp_path, evaluate=top1, schedule={"epochs": 5}, training=training)
    assert [line["epoch"] for line in result.history if line["split"] == "val"] == [2, 4, 5]
    saved = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert saved == ["best", "step_00000012", "step_00000018", "step_00000030"]  # the first evaluation was the best
    steps = [line["step"] for line in result.history if line["split"] == "train"]
    assert steps == [4, 6, 8, 12, 16, 18, 20, 24, 28, 30]


def test_an_evaluation_in_the_middle_of_an_epoch_that_fails_is_made_up_for_on_resuming(tmp_path):
    def broken(task):
        raise UserError("no picture")

    how = {
        "training": {"eval_steps": 4, "save_every": 0},
    }
    whole = fit_toy(tmp_path / "whole", evaluate=top1, **how)
    with pytest.raises(UserError, match="no picture"):
        fit_toy(tmp_path / "parts", evaluate=broken, **how)
    parts = fit_toy(tmp_path / "parts", evaluate=top1, resume=True, **how)
    assert [line["step"] for line in parts.history if line["split"] == "val"] == [4, 6, 8, 12, 16, 18]
    assert without_speed(parts.history) == without_speed(whole.history)
    assert_equal_states(parts.task.state_dict(), whole.task.state_dict())


@pytest.mark.parametrize("moment", ["before the evaluation", "in the evaluation"])
def test_a_signal_breaks_an_evaluation_off_at_once_and_it_is_made_up_for(tmp_path, moment):
    def evaluate(task):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(100):
            pass
        raise AssertionError("the evaluation went on")

    train = Toys()
    if moment == "before the evaluation":
        train.before_batch = lambda epoch, number: (epoch, number) == (0, 5) and os.kill(os.getpid(), signal.SIGTERM)
    whole = fit_toy(tmp_path / "whole", evaluate=top1)
    with pytest.raises(KeyboardInterrupt, match="interrupted after step 6, saved in"):
        fit_toy(tmp_path / "parts", train=train, evaluate=evaluate)
    parts = fit_toy(tmp_path / "parts", evaluate=top1, resume=True)
    assert without_speed(parts.history) == without_speed(whole.history)
    assert without_speed([parts.best]) == without_speed([whole.best])


def test_a_metric_that_is_not_there_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(UserError, match="unknown metric 'top_1': did you mean top1"):
        fit_toy(tmp_path, evaluate=top1, best=Best("top_1", higher=True))
