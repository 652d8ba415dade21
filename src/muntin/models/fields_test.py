import dataclasses
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from muntin import models
from muntin.errors import UserError
from muntin.models.convnext_roadmap import RoadmapConfig
from muntin.models.fields import (
    Axes,
    Blocks,
    PictureSize,
    Shape,
    Within,
    check_branches,
    check_field,
    check_fields,
    fields_of,
)
from muntin.ops.windows import Size

CONFIGS = [RoadmapConfig, *(value for name, value in vars(models).items() if name.endswith("Config"))]


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a field may declare."""

    patch: PictureSize = (4, 4)
    """Pixels a token,
    height and width."""
    depths: tuple[Blocks, ...] = (2, 1)
    """Blocks of each stage."""
    scale: float = 1
    token: bool = True
    padding: Annotated[int, Within(0, 9)] = 0
    """Cells around a map."""
    names: tuple[Literal["one", "two"], ...] = ("one", "two")
    windows: tuple[Annotated[Size, Axes(longest=8)], ...] = ((4, 4), (8, 8))


@dataclass(frozen=True, kw_only=True)
class Child(Config):
    """A config that adds to its parent's."""

    patch: PictureSize = (2, 2)
    heads: tuple[int, ...] = (1, 2)
    """Heads of each stage."""


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"patch": [4, 4]}, "patch is [4, 4]; it must be 2 whole numbers from 1 to 2,048"),
        ({"patch": (4, True)}, "2 whole numbers"),
        ({"patch": (4, 4, 4)}, "2 whole numbers"),
        ({"patch": (4, 1 << 20)}, "from 1 to 2,048"),
        (
            {"depths": 3},
            "depths is 3; it must be a tuple with one entry a stage, 1 to 8, each a whole number from 1 ",
        ),
        ({"depths": ()}, "one entry a stage, 1 to 8"),
        ({"depths": (1,) * 9}, "one entry a stage, 1 to 8"),
        ({"depths": (999, 2)}, "at most 1,000 in all"),
        ({"depths": (1, 1, 1)}, "names is ('one', 'two'); it must be a tuple with one entry a stage, 3 as in depths"),
        ({"scale": float("nan")}, "scale is nan; it must be a number from 0 to 65,536"),
        ({"scale": False}, "a number"),
        ({"token": 1}, "token is 1; it must be True or False"),
        ({"padding": 10}, "padding is 10; it must be a whole number from 0 to 9"),
        ({"padding": 1.0}, "a whole number"),
        ({"names": ("one", ["two"])}, "each one of one, two"),
        ({"windows": ((4, 4), (8,))}, "one entry a stage, 2 as in depths, each 2 whole numbers from 1 to 8"),
    ],
)
def test_what_a_field_does_not_declare_is_refused(changes, sentence):
    check_fields(Config())
    with pytest.raises(UserError) as refused:
        check_fields(dataclasses.replace(Config(), **changes))
    assert sentence in str(refused.value)


def test_a_value_may_be_one_of_several_kinds():
    kind = PictureSize | tuple[PictureSize, ...] | None
    for value in (None, (4, 4), ((4, 4), (2, 2))):
        check_field("window", value, kind, Shape(axes=2, stages=2))
    with pytest.raises(UserError, match=r"2 whole numbers .* or a tuple with one entry .* or None"):
        check_field("window", (4, 4, 4), kind, Shape(axes=2))


def test_a_name_that_is_no_choice_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="unknown readout 'tokn': did you mean token"):
        check_field("readout", "tokn", Literal["token", "gap"], Shape())


def test_heads_divide_channels_and_mlps_have_some():
    check_branches((8, 16), (2, 4), (4.0, 0.5))
    with pytest.raises(UserError, match="stage 1 has 16 channels, which 3 heads do not divide"):
        check_branches((8, 16), (2, 3), (4.0, 4.0))
    for ratio in (0.01, 60000.0):
        with pytest.raises(UserError, match="an MLP of 8 channels needs 1 to 65,536 hidden ones"):
            check_branches((8,), (2,), (ratio,))


def test_fields_are_listed_with_type_default_and_the_text_under_them():
    found = {field.name: field for field in fields_of(Child)}
    assert list(found) == [*(f.name for f in dataclasses.fields(Config)), "heads"]
    assert found["patch"] == ("patch", Size, (2, 2), "Pixels a token,\nheight and width.")
    assert found["padding"] == ("padding", int, 0, "Cells around a map.")
    assert found["heads"].doc == "Heads of each stage."
    assert found["token"].doc == ""


@pytest.mark.parametrize("config", CONFIGS)
def test_every_field_of_every_model_says_what_it_is(config):
    assert [field.name for field in fields_of(config) if not field.doc.endswith(".")] == []
