from dataclasses import dataclass, field
from typing import Literal

import pytest

from muntin.cli.fields import first_values, full_names, override
from muntin.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Optim:
    lr: float = 1e-3
    """Peak learning rate."""
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Data:
    path: str = "digits"
    seed: int = 0
    image_size: tuple[int, int] = (28, 28)


@dataclass(frozen=True, kw_only=True)
class Plan:
    epochs: int = 3
    kind: Literal["cosine", "linear"] = "cosine"
    ema: bool = False
    patch: tuple[int, int] | None = None
    optim: Optim = field(default_factory=Optim)
    data: Data = field(default_factory=Data)


def read(*arguments: str) -> Plan:
    return override(Plan(), list(arguments), "muntin train plan", "About.")


@pytest.mark.parametrize("flag", ["--optim.lr", "--lr"])
def test_field_by_full_and_by_last_name(flag):
    assert read(flag, "0.5").optim.lr == 0.5
    assert read(f"{flag}=0.5").optim.lr == 0.5


@pytest.mark.parametrize("flag", ["--image-size", "--image_size", "--data.image_size"])
def test_dashes_and_underscores_are_the_same(flag):
    assert read(flag, "32", "64").data.image_size == (32, 64)


def test_data_stands_for_its_path():
    assert read("--data", "photos").data.path == "photos"


def test_switches_turn_on_and_off():
    assert read("--ema").ema is True
    assert read("--ema", "--no-ema").ema is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epoch", "3"], "--epochs"),
        (["--optim.lrr", "3"], "--optim.lr"),
        (["--seed", "3"], "--optim.seed or --data.seed"),
        (["--epochs", "many"], "epochs is 'many'; it must be a whole number (muntin train plan --help)"),
        (["--epochs=2.5"], "epochs is '2.5'; it must be a whole number"),
        (["--lr", "fast"], "lr is 'fast'; it must be a number"),
        (["--image-size", "32", "x"], "image_size is 'x'; it must be a whole number"),
        (["--patch", "4", "x"], "patch is 'x'; it must be a whole number or None"),
        (["--ema", "yes"], "ema is a switch and takes no 'yes': --ema or --no-ema"),
        (["--epochs"], "Missing value"),
        (["--kind", "cosin"], "kind is 'cosin'; it must be cosine or linear"),
        (["--image-size", "32"], "image-size"),
        (["left-over"], "left-over"),
    ],
)
def test_mistake_is_one_sentence(arguments, message):
    with pytest.raises(UserError) as caught:
        read(*arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not set("│╭─") & set(str(caught.value))


def test_mistake_is_one_sentence_without_borders_too(capsys):
    with pytest.raises(UserError, match=r"^Missing value for argument '--epochs'"):
        read("--epochs")


@dataclass(frozen=True, kw_only=True)
class Strict:
    epochs: int = 3

    def __post_init__(self):
        if self.epochs < 1:
            raise UserError(f"strict: epochs is {self.epochs}")


@dataclass(frozen=True, kw_only=True)
class Whole:
    strict: Strict = field(default_factory=Strict)
    last: int = 3

    def __post_init__(self):
        if self.last < 1:
            raise UserError(f"last is {self.last}")


@pytest.mark.parametrize(
    ("flag", "sentence"), [("--epochs", "strict: epochs is 0"), ("--last", "last is 0")], ids=["group", "whole"]
)
def test_a_group_that_refuses_its_values_is_named_once(flag, sentence):
    with pytest.raises(UserError, match=rf"^{sentence} \(plan --help\)"):
        override(Whole(), [flag, "0"], "plan", "About.")


def test_values_of_optional_fields_are_read():
    assert read("--patch", "4", "8").patch == (4, 8)
    assert read("--patch", "None").patch is None
    assert read("--lr", "1e-4", "--epochs", "1_000").epochs == 1000


def test_help_shows_every_field_with_type_doc_and_default(capsys):
    with pytest.raises(SystemExit) as end:
        read("--help")
    assert end.value.code == 0
    shown = capsys.readouterr().out
    for words in (
        "--optim.lr FLOAT",
        "Peak learning rate.",
        "(default: 0.001)",
        "{cosine,linear}",
        "--data.image-size INT INT",
    ):
        assert words in shown


def test_flags_are_known_in_full_with_their_first_value():
    arguments = ["--lr=0.5", "--data.image_size", "32", "64", "--ema", "--epochs", "3"]
    full = full_names(Plan, arguments, "muntin train plan")
    assert first_values(full) == {"optim.lr": "0.5", "data.image-size": "32", "ema": "", "epochs": "3"}


@pytest.mark.parametrize("flag", ["--mask-patch", "--task.mask_patch", "--mask_patch=8"])
def test_a_field_that_is_elsewhere_is_answered_by_what_is_said_of_it(flag):
    elsewhere = {"task.mask-patch": "is a field of another task"}
    with pytest.raises(UserError, match=r"mask-patch is a field of another task \(plan --help\)"):
        full_names(Plan, [flag, "8"], "plan", elsewhere)
