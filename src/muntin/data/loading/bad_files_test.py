import pytest

from muntin.data.loading.bad_files import SAID, BadFiles
from muntin.errors import UserError


def _listed(file):
    return [line.split("\t")[0] for line in file.read_text(encoding="utf-8").splitlines()]


def test_each_is_counted_and_listed_once_in_the_order_of_first_sight(tmp_path, capsys):
    bad = BadFiles(100, 0.05)
    bad.list_in(file := tmp_path / "bad_files.txt")
    for name in ("b.jpg", "a.jpg", "b.jpg"):
        bad.add(name, f"{name} is no picture")
    assert file.read_text() == "b.jpg\tis no picture\na.jpg\tis no picture\n"
    assert len(bad) == 2
    assert capsys.readouterr().out.splitlines()[1] == (
        f"a.jpg is no picture. Skipped; 2 of 100 so far, listed in {file}"
    )


def test_more_than_the_share_stop_with_counts(tmp_path):
    bad = BadFiles(40, 0.05)
    bad.list_in(tmp_path / "bad_files.txt")
    bad.add("1", "1 is cut off")
    bad.add("2", "2 is cut off")
    with pytest.raises(UserError) as error:
        bad.add("3", "3 is cut off")
    assert str(error.value) == (
        "3 of 40 pictures cannot be read, more than the share of 0.05 that bad_share allows: repair or remove them "
        "(muntin data check names them all), or raise bad_share; the last: 3 is cut off"
    )
    assert _listed(tmp_path / "bad_files.txt") == ["1", "2", "3"]


def test_those_already_listed_count_and_are_not_listed_again(tmp_path):
    file = tmp_path / "bad_files.txt"
    file.write_text("1\tcut\n2\tcut\n")
    bad = BadFiles(40, 0.05)
    bad.list_in(file)
    with pytest.raises(UserError, match="3 of 40"):
        bad.add("3", "cut")
    again = BadFiles(40, 0.05)
    again.list_in(file)
    with pytest.raises(UserError, match="3 of 40"):  # where a run was stopped, it stops again
        again.add("1", "cut")
    assert _listed(file) == ["1", "2", "3"]


def test_another_process_that_lists_meanwhile_is_heard(tmp_path):
    one, other = BadFiles(100, 0.5), BadFiles(100, 0.5)
    for each in (one, other):
        each.list_in(tmp_path / "bad_files.txt")
    one.add("1", "cut")
    other.add("1", "cut")
    other.add("2", "cut")
    one.add("2", "cut")
    assert _listed(tmp_path / "bad_files.txt") == ["1", "2"]
    assert len(one) == len(other) == 2


def test_a_long_list_is_not_read_again_for_each_picture(tmp_path):
    bad, heard = BadFiles(10_000, 0.5), []
    bad.list_in(file := tmp_path / "bad_files.txt")
    file.write_text("".join(f"{number}\tcut\n" for number in range(1000)))
    for number in range(1000, 1010):
        bad.add(str(number), "cut")
        heard.append(file.stat().st_size - bad._heard)
    assert max(heard) < 20
    assert _listed(file) == [str(number) for number in range(1010)]


@pytest.mark.parametrize("end", ["ca", "cat.jpg\tis not a pi"])
def test_a_list_that_a_crash_cut_short_goes_on_in_a_line_of_its_own(tmp_path, end):
    file = tmp_path / "bad_files.txt"
    file.write_text(f"1\tcut\n{end}")
    bad = BadFiles(100, 0.5)
    bad.list_in(file)
    bad.add("2", "cut")
    assert file.read_text() == f"1\tcut\n{end}\n2\tcut\n"
    again = BadFiles(100, 0.5)
    again.list_in(file)
    again.add("cat.jpg", "cut")
    assert len(again) == 3
    assert file.read_text().count("cat.jpg") == 1


def test_names_cannot_break_the_list_or_the_terminal(tmp_path):
    bad = BadFiles(100, 0.5)
    bad.list_in(file := tmp_path / "bad_files.txt")
    bad.add("a\tb\nc\x1b[2J.jpg", "über\nlang")
    bad.add("a\tb\nc\x1b[2J.jpg", "again")
    assert file.read_text(encoding="utf-8") == "a\\tb\\nc\\x1b[2J.jpg\tüber\\nlang\n"


def test_many_are_said_now_and_then(capsys):
    bad = BadFiles(1000, 0.5)
    for number in range(3 * SAID):
        bad.add(str(number), f"{number} is no picture")
    assert len(capsys.readouterr().out.splitlines()) == SAID + 2


def test_without_a_list_too_many_are_a_mistake_of_what_was_given():
    bad = BadFiles(10, 0.05)
    with pytest.raises(UserError, match=r"^1 of 10 pictures cannot be read, more than the share"):
        bad.add("1", "1 is cut off")
