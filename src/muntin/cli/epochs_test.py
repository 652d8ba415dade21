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
    assert recipe.schedule == stretched(get("train").schedule, epochs=3)


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
    assert stretched(multistep, epochs=80).milestones == (70,)
    assert stretched(multistep, epochs=3).milestones == (2,)
    step = Schedule(kind="step", epochs=90, warmup_epochs=9, decay_epochs=30)
    assert stretched(step, epochs=30) == replace(step, epochs=30, warmup_epochs=3, decay_epochs=10)


@pytest.mark.parametrize("name", ["train", "finetune", "simmim_swin_base_800ep", "swin_tiny", "digits"])
@pytest.mark.parametrize("epochs", [1, 2, 7, 1000])
def test_every_number_of_epochs_can_be_had(name, epochs):
    assert stretched(get(name).schedule, epochs=epochs).epochs == epochs


def test_updates_take_the_place_of_epochs_and_keep_the_share_of_warm_up(capsys):
    schedule = read("train", "--updates", "1000")
    assert schedule == replace(get("train").schedule, epochs=0, updates=1000, warmup_epochs=0, warmup_updates=50)
    said = "1000 updates instead of 200 epochs, in the same shape: warmup_epochs 10 -> 0, warmup_updates 0 -> 50\n"
    assert capsys.readouterr().err == said


def test_epochs_take_the_place_of_updates_and_keep_the_share_of_warm_up():
    long = Schedule(kind="poly", epochs=0, updates=160_000, warmup_epochs=0, warmup_updates=1500)
    assert stretched(long, updates=16_000) == replace(long, updates=16_000, warmup_updates=150)
    short = stretched(long, epochs=10)
    assert (short.epochs, short.updates, short.warmup_epochs, short.warmup_updates) == (10, 0, 0.0938, 0)


def test_warm_up_in_the_other_unit_than_the_length_stays():
    detector = Schedule(kind="multistep", epochs=36, warmup_epochs=0, warmup_updates=500, milestones=(27, 33))
    assert stretched(detector, epochs=12) == replace(detector, epochs=12, milestones=(9, 11))


@pytest.mark.parametrize("arguments", [("--warmup-updates", "7"), ("--warmup-updates", "7", "--epochs", "20")])
def test_warm_up_given_in_updates_takes_the_place_of_the_recipes(arguments):
    schedule = read("train", *arguments)
    assert (schedule.warmup_epochs, schedule.warmup_updates) == (0, 7)


def test_warm_up_given_in_epochs_stays_in_a_length_of_updates():
    schedule = read("train", "--updates", "1000", "--warmup-epochs", "2")
    assert (schedule.updates, schedule.warmup_epochs, schedule.warmup_updates) == (1000, 2.0, 0)


@pytest.mark.parametrize("unit", ["", "warmup-"])
def test_one_length_in_two_units_is_refused(unit):
    says = f"--{unit}epochs and --{unit}updates say the same in two units; give one of them"
    with pytest.raises(UserError, match=says):
        read("train", f"--{unit}epochs", "3", f"--{unit}updates", "5")


@pytest.mark.parametrize(("name", "says"), [("deit_tiny", "clock 'late_epoch'"), ("simmim_swin_base_800ep", "decays")])
def test_updates_are_refused_where_the_rate_moves_by_epochs(name, says):
    with pytest.raises(UserError, match=rf"updates is 5, and .*{says}.*; give epochs"):
        read(name, "--updates", "5")


@pytest.mark.parametrize(("name", "curve"), [("deit_small", ["--clock", "update"]), ("cvt_13", ["--clock", "update"])])
def test_a_length_in_updates_goes_with_a_clock_that_is_typed_beside_it(name, curve, capsys):
    schedule = read(name, "--data", "digits", "--updates", "100", *curve)
    assert (schedule.updates, schedule.epochs, schedule.clock) == (100, 0, "update")
    with pytest.raises(UserError, match="counts epochs; give epochs"):
        read(name, "--data", "digits", "--updates", "100")
