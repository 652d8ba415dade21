import pytest

from muntin.cli.arguments import Parser, not_negative, positive, share
from muntin.errors import UserError


def parser() -> Parser:
    options = Parser("look", "Look at something.")
    options.add_argument("place")
    options.add_argument("--count", type=positive, required=True)
    options.add_argument("--workers", type=not_negative, default=0)
    options.add_argument("--share", type=share, default=0.5)
    return options


def test_good_arguments_are_read():
    given = parser().parse_args(["here", "--count", "3", "--workers=0"])
    assert (given.place, given.count, given.workers) == ("here", 3, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["here", "--coun", "3"], "unknown option '--coun': did you mean --count"),
        (["here"], "required: --count"),
        (["here", "there", "--count", "3"], "there"),
        (["here", "--count", "many"], "'many' is no whole number of at least 1"),
        (["here", "--count", "0"], "'0' is no whole number of at least 1"),
        (["here", "--count", "1", "--workers", "-1"], "--workers"),
        (["here", "--count", "1", "--share", "1"], "'1' is no number of at least 0 and below 1"),
        (["here", "--count", "1", "--share", "half"], "'half' is no number"),
        (["here", "--count", "1", "--share", "nan"], "'nan' is no number"),
    ],
)
def test_mistake_is_one_sentence_that_leads_to_the_help(arguments, message):
    with pytest.raises(UserError) as caught:
        parser().parse_args(arguments)
    assert message in str(caught.value)
    assert "muntin look --help" in str(caught.value)
    assert "\n" not in str(caught.value)
