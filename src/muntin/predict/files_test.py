from pathlib import Path

import pytest
from PIL import Image

from muntin.data import PictureInput
from muntin.errors import UserError
from muntin.predict.files import drawn_file, find_pictures

READ = PictureInput().read


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "b" / "deep").mkdir(parents=True)
    for name in ("a.png", "b/2.JPG", "b/1.jpg", "b/deep/3.webp"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def names(root: Path, *places: str) -> list[str]:
    return [str(Path(p.name).relative_to(root)) for p in find_pictures([root / place for place in places], READ)]


def test_folders_are_searched_in_depth_and_sorted(place):
    assert names(place, "b") == ["b/1.jpg", "b/2.JPG", "b/deep/3.webp"]


def test_globs_are_expanded_and_other_files_left_out(place):
    assert names(place, "*") == ["a.png"]
    assert names(place, "**/*.[jJ]*") == ["b/1.jpg", "b/2.JPG"]


def test_nothing_is_listed_twice(place):
    assert names(place, "a.png", "a.png", "*.png") == ["a.png"]


def test_file_named_in_full_is_taken_whatever_its_ending(place):
    assert names(place, "notes.txt") == ["notes.txt"]
    with pytest.raises(UserError, match=r"notes\.txt is not a picture"):
        find_pictures([place / "notes.txt"], READ)[0].read()


def test_digits_are_the_built_in_held_out_set():
    pictures = find_pictures(["digits"], READ)
    assert len(pictures) == 1000
    assert pictures[7].read().inputs["image"].size == (28, 28)


@pytest.mark.parametrize("missing", ["nowhere", "nowhere.jpg", "x/*.jpg"])
def test_place_without_pictures_is_named(place, missing):
    with pytest.raises(UserError, match=missing.replace("*", r"\*")):
        find_pictures([place / missing], READ)


def test_drawings_get_names_of_their_own(tmp_path):
    original = tmp_path / "cat.png"
    taken = {original.resolve()}
    files = [drawn_file(tmp_path, name, taken).name for name in (str(original), "other/cat.jpg", "dog.jpg")]
    assert files == ["cat_2.png", "cat_3.png", "dog.png"]
