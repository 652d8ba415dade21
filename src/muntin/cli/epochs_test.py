from dataclasses import replace

import pytest

from muntin.cli import train
from muntin.cli.epochs import stretched
from muntin.engine import Schedule
from muntin.errors import UserError
from muntin.recipes import get

WARMUP = "warmup_epochs 10 -> 0.15"  # of `train`, 10 in 200


def read(name: str, *arguments: str) -> Schedule:
    recipe, _ = train.resolve([name, *arguments])
    return recipe.schedule


def test_few_epochs_keep_the_share_of_warm_up_and_say_so(capsys):
    schedule = read("train", "--epochs", "3")
    assert (schedule.epochs, schedule.warmup_epochs) == (3, 0.15)
    assert capsys.readouterr().err == f"3 epochs instead of 200, in the same shape: {WARMUP}\n"


def test_train_keeps_the_shape_under_its_options():
    recipe, _ = train.resolve(["train", "--out", "runs/x", "--epochs", "3", "--dry-run"])
    assert recipe.schedule == stretched(get("train").schedule, 3)


def test_warm_up_that_was_given_stays_and_nothing_is_said(capsys):
    schedule = read("train", "--warmup-epochs", "1", "--schedule.epochs=3")
    assert (schedule.epochs, schedule.warmup_epochs) == (3, 1.0)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("arguments", [(), ("--epochs", "200"), ("--lr", "1e-3")])
def test_schedule_without_other_epochs_is_the_recipes(arguments, capsys):
    assert read("train", *arguments) == get("train").schedule
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("epochs", ["0", "-1", "many", "2.5"])
def test_epochs_that_are_none_are_still_refused(epochs):
    with pytest.raises(UserError, match="epochs is"):
        read("train", f"--epochs={epochs}")


def test_one_process_of_several_speaks(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    assert read("train", "--epochs", "3").warmup_epochs == 0.15
    assert capsys.readouterr().err == ""


def test_decays_keep_their_place():
    multistep = get("simmim_swin_base_800ep").schedule
    assert stretched(multistep, 80).milestones == (70,)
    assert stretched(multistep, 3).milestones == (2,)
    step = Schedule(kind="step", epochs=90, warmup_epochs=9, decay_epochs=30)
    assert stretched(step, 30) == replace(step, epochs=30, warmup_epochs=3, decay_epochs=10)


@pytest.mark.parametrize("name", ["train", "finetune", "simmim_swin_base_800ep", "swin_tiny", "digits"])
@pytest.mark.parametrize("epochs", [1, 2, 7, 1000])
def test_every_number_of_epochs_can_be_had(name, epochs):
    assert stretched(get(name).schedule, epochs).epochs == epochs
