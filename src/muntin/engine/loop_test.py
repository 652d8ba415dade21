import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from muntin.engine import Schedule, checkpoint
from muntin.engine.toys_test import Toy, Toys, assert_equal_states, fit_toy, top1, without_speed
from muntin.errors import UserError


def test_training_lowers_the_loss_and_writes_down_how(tmp_path):
    result = fit_toy(tmp_path, evaluate=top1, schedule={"epochs": 20})
    train = [line for line in result.history if line["split"] == "train"]
    assert [line["epoch"] for line in train] == list(range(1, 21))
    assert train[-1]["step"] == 120
    assert train[-1]["loss"] < 0.5 * train[0]["loss"]
    assert result.metrics == top1(result.task)
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == result.history
    assert not result.task.training


def test_the_loop_equals_one_written_by_hand(tmp_path):
    result = fit_toy(tmp_path, optim={"clip_grad": 0.3, "layer_decay": 0.5})
    task = Toy()
    groups = [
        ([*task.blocks[0].parameters()], 0.25),
        ([*task.blocks[1].parameters()], 0.5),
        ([*task.head.parameters()], 1),
    ]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p], "scale": scale, "weight_decay": 0.05 if p.ndim > 1 else 0.0}
            for parameters, scale in groups
            for p in parameters
        ],
        fused=True,
    )
    schedule, update = Schedule(epochs=3, warmup_epochs=1, warmup_lr=1e-4, min_lr=1e-4), 0
    for epoch in range(3):
        for batch in Toys().epoch(epoch):
            for group in optimizer.param_groups:
                group["lr"] = schedule.lr(update, 1e-2 * group["scale"], 6)
            task.losses(batch).terms["cross_entropy"].backward()
            nn.utils.clip_grad_norm_(task.parameters(), 0.3)
            optimizer.step()
            optimizer.zero_grad()
            update += 1
    for name, ours in result.task.state_dict().items():
        torch.testing.assert_close(ours, task.state_dict()[name], rtol=1e-5, atol=1e-6)


def test_accumulation_gives_the_same_weights_as_whole_batches(tmp_path):
    whole, parts = (fit_toy(tmp_path / str(n), training={"batch_size": 8, "accumulate": n}) for n in (1, 4))
    for name, tensor in whole.task.state_dict().items():
        torch.testing.assert_close(tensor, parts.task.state_dict()[name], rtol=1e-5, atol=1e-6)
    assert parts.history[-1]["loss"] == pytest.approx(whole.history[-1]["loss"], rel=1e-5)


def test_checkpoints_come_in_the_middle_of_an_epoch_where_wanted(tmp_path):
    fit_toy(tmp_path, training={"save_steps": 4, "save_every": 0, "keep_last": 9})
    saved = [int(path.name[-2:]) for path in sorted((tmp_path / "checkpoints").iterdir())]
    assert saved == [4, 8, 12, 16, 18]


def test_a_run_of_updates_says_so_and_ends_after_them(tmp_path, capsys):
    schedule = {"epochs": 0, "updates": 14, "warmup_epochs": 0, "warmup_updates": 3}
    result = fit_toy(tmp_path, schedule=schedule, training={"keep_last": 9})
    saved = [int(path.name[-2:]) for path in sorted((tmp_path / "checkpoints").iterdir())]
    assert saved == [6, 12, 14]
    assert [(line["epoch"], line["step"]) for line in result.history] == [(1, 6), (2, 12), (3, 14)]
    said = capsys.readouterr().out
    assert "14 updates in epochs of 6 updates · 4 samples an update" in said
    assert "epoch 3/3 · step 14/14" in said


def test_recomputing_activations_changes_no_number(tmp_path):
    """So a run that is out of memory may be resumed with it."""
    plain, less = (
        fit_toy(tmp_path / str(on), Toy(dropout=0.3), training={"checkpointing": on}).task.state_dict()
        for on in (False, True)
    )
    assert_equal_states(plain, less)


def test_two_runs_with_one_seed_are_equal_and_with_two_are_not(tmp_path):
    states = []
    for number, seed in enumerate((1, 1, 2)):
        torch.manual_seed(number)
        task = Toy(dropout=0.5)
        states.append(fit_toy(tmp_path / str(number), task, training={"seed": seed}).task.state_dict())
    assert_equal_states(states[0], states[1])
    assert not torch.equal(states[0]["head.weight"], states[2]["head.weight"])


def test_the_callers_random_numbers_and_threads_are_left_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    task, threads = Toy(dropout=0.5), torch.get_num_threads()
    torch.manual_seed(5)
    fit_toy(tmp_path, task, training={"threads": threads + 1})
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_bf16_trains_fp32_weights(tmp_path):
    result = fit_toy(tmp_path, training={"precision": "bf16"})
    assert {t.dtype for t in result.task.state_dict().values()} == {torch.float32}
    assert result.history[-1]["loss"] != fit_toy(tmp_path / "fp32").history[-1]["loss"]


def test_nothing_is_written_where_checkpoints_are(tmp_path):
    fit_toy(tmp_path)
    with pytest.raises(UserError, match="holds checkpoints already"):
        fit_toy(tmp_path)


def test_too_little_data_is_refused(tmp_path):
    with pytest.raises(UserError, match="too few for one update of 32 micro-steps"):
        fit_toy(tmp_path, Toy(), Toys(1), training={"batch_size": 32, "accumulate": 32})


class Watched(Toy):
    """A toy with a frozen module beside it, which it asks without holding it."""

    def __init__(self):
        super().__init__()
        self.beside = {"watcher": nn.Dropout(0.5)}

    def companions(self):
        return self.beside

    def losses(self, batch):
        assert self.training
        assert not self.beside["watcher"].training
        return super().losses(batch)


def test_companions_stay_in_eval_mode_and_in_no_state(tmp_path):
    fit_toy(tmp_path, Watched(), training={"ema": 0.9})
    _, numbers = checkpoint.load(checkpoint.latest(tmp_path / "checkpoints"))
    state = load_file(checkpoint.latest(tmp_path / "checkpoints") / "state.safetensors")
    assert not any("watcher" in name for name in state)
    assert numbers["update"] == 18


def test_what_a_task_shows_is_logged_beside_its_loss_and_not_trained_on(tmp_path):
    class Mute(Toy):
        def losses(self, batch):
            return super().losses(batch)._replace(shown={})

    shown, mute = (fit_toy(tmp_path / name, task) for name, task in (("shown", Toy()), ("mute", Mute())))
    assert all(1 / 3 < line["confidence"] <= 1 for line in shown.history)
    assert [{**line, "confidence": 0} for line in without_speed(shown.history)] == [
        {**line, "confidence": 0} for line in without_speed(mute.history)
    ]
    assert_equal_states(shown.task.state_dict(), mute.task.state_dict())


def test_a_shown_number_that_is_not_finite_does_not_stop_the_run(tmp_path):
    class Odd(Toy):
        def losses(self, batch):
            return super().losses(batch)._replace(shown={"share": torch.tensor(float("nan"))})

    assert fit_toy(tmp_path, Odd()).history[-1]["step"] == 18
