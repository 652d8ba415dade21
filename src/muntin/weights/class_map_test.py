import pytest

from muntin.errors import UserError
from muntin.weights.class_map import LARGEST, read_class_map


def test_rows_are_read_in_order(tmp_path):
    file = tmp_path / "map.txt"
    file.write_text("3\n0\r\n\n21840")
    assert read_class_map(file) == (3, 0, 21840)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xff\xfe", "is no text"),
        (b"1\n-2\n", "entry 2 is '-2'"),
        (b"1\nn01440764\n", "entry 2 is 'n01440764'"),
        ("1\n²".encode(), "entry 2"),
        (b"9" * 5000, "entry 1"),
        (b"1\n" * LARGEST, "more than 1,000,000 bytes"),
    ],
)
def test_file_that_is_no_list_of_rows_is_refused(content, message, tmp_path):
    file = tmp_path / "map.txt"
    file.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_class_map(file)


def test_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"class map .*nowhere.txt cannot be read"):
        read_class_map(tmp_path / "nowhere.txt")
    with pytest.raises(UserError, match="cannot be read"):
        read_class_map(tmp_path)
