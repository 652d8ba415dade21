import dataclasses
import io
import json
import shutil
import tarfile

import pytest
from PIL import Image

from muntin.data import check_data, open_data
from muntin.data.checking.check import Spread
from muntin.errors import UserError

GOOD = [f"{split}/{name}/{n}.png" for split in ("train", "val") for name in ("cat", "dog") for n in range(5)]


def said(findings) -> str:
    return "\n".join(findings.problems)


def test_clean_data_is_counted_and_measured(pictures):
    found = check_data(pictures(*GOOD))
    assert found.layout == "class folders in train/ and val/"
    assert found.pictures == 20
    assert found.counts == {"train": {"cat": 5, "dog": 5}, "val": {"cat": 5, "dog": 5}}
    assert (found.width, found.height) == (Spread(12, 12, 12), Spread(10, 10, 10))
    assert found.modes == {"RGB": 20}
    assert not found.problems
    assert not found.unreadable
    assert not found.shared
    assert (
        found.notes
        == [  # the fixture's pictures are small
            f"20 pictures with a side below 16 pixels: {', '.join(str(pictures() / p) for p in sorted(GOOD)[:3])} "
            "and 17 more"
        ]
    )


def test_findings_are_plain_values(pictures):
    found = check_data(pictures("cat/1.png", "dog/1.png"))
    assert json.loads(json.dumps(dataclasses.asdict(found)))["counts"] == {"": {"cat": 1, "dog": 1}}


def test_all_problems_are_said_at_once(pictures):
    root = pictures(*GOOD, "train/emu/1.png", "val/yak/1.png", "valid/cat/1.png")
    (root / "train" / "owl").mkdir()
    (root / "train" / "cat" / "0.png").write_bytes(b"")
    (root / "train" / "dog" / "1.png").write_text("text")
    shutil.copy(root / "train/dog/2.png", root / "val/dog/copy.png")
    found = check_data(root)
    for words in (
        "has val, valid: keep one",
        "class folders without pictures in",
        "val has 1 class missing from train: yak",
        "train has 1 class missing from val: emu",
        "2 files cannot be read",
        "in train and in val",
    ):
        assert words in said(found)
    assert found.missing == {"train": ["yak"], "val": ["emu"]}
    empty, text = sorted(found.unreadable)
    assert "it is empty, 0 bytes" in found.unreadable[empty]
    assert "it is none of JPEG" in found.unreadable[text]
    assert found.shared == [[str(root / "train/dog/2.png"), str(root / "val/dog/copy.png")]]


def test_pictures_are_compared_by_their_pixels_not_their_files(pictures):
    root = pictures(*GOOD)
    Image.open(root / "train/cat/0.png").save(root / "val/cat/same.bmp")
    Image.open(root / "train/cat/1.png").save(root / "train/cat/same.tiff")
    found = check_data(root)
    assert found.shared == [[str(root / "train/cat/0.png"), str(root / "val/cat/same.bmp")]]
    assert found.duplicates == [[str(root / "train/cat/1.png"), str(root / "train/cat/same.tiff")]]
    assert found.contradictions == []
    assert any(note.startswith("the same picture more than once") for note in found.notes)


def test_one_picture_with_two_labels_is_a_problem(pictures):
    root = pictures("cat/1.png", "dog/1.png", "dog/2.png")
    shutil.copy(root / "cat/1.png", root / "dog/3.png")
    found = check_data(root)
    assert found.contradictions == [[str(root / "cat/1.png"), str(root / "dog/3.png")]]
    assert "the same picture with different labels" in said(found)
    assert "1.png (cat) = " in said(found)


def test_what_training_would_leave_out_is_noted(pictures):
    root = pictures(*GOOD, "train/loose.png", "test/cat/1.png")
    (root / "train/cat/new.heic").touch()
    (root / "train/cat/.hidden.txt").touch()
    notes = "\n".join(check_data(root).notes)
    assert "folders beside train, val are not used: test" in notes
    assert "1 pictures directly in" in notes
    assert "files left out by their suffix: .heic (1);" in notes


def test_pictures_no_model_can_take_are_unreadable(pictures):
    root = pictures("cat/1.png", "dog/1.png")
    Image.new("F", (2, 2)).save(root / "dog/2.tiff")
    (reason,) = check_data(root).unreadable.values()
    assert reason.startswith(str(root / "dog/2.tiff"))
    assert "floating point has no fixed range" in reason


def test_a_table_with_many_faults(pictures):
    root = pictures("a.png", "b.png")
    (root / "list.csv").write_text(
        "path,label,split\na.png,x,train\nb.png,,val\ngone.png,y,train\n,x,val\na.png,x,tes\n"
    )
    found = check_data(root / "list.csv")
    assert found.layout == "a table of path,label"
    for words in ("lines without path: 5", "lines without label: 3", "tes in line 6", "1 file cannot be read"):
        assert words in said(found)
    assert "there is no such file" in found.unreadable[str(root / "gone.png")]


def test_pictures_without_labels(pictures):
    found = check_data(pictures("1.png", "2.png"))
    assert found.layout == "pictures without labels"
    assert found.counts == {"": {"": 2}}
    assert not found.problems


def shard(path, *members: tuple[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def test_shards(pictures, tmp_path_factory):
    a, b, c = ((pictures("a.png", "b.png", "c.png") / name).read_bytes() for name in ("a.png", "b.png", "c.png"))
    root = tmp_path_factory.mktemp("shards")
    shard(root / "train-0.tar", ("0.png", a), ("0.cls", b"cat"), ("1.png", b), ("1.cls", b"dog"))
    shard(root / "val-0.tar", ("0.png", a), ("0.cls", b"cat"), ("1.png", b"text"), ("1.cls", b"dog"))
    found = check_data(root)
    assert found.layout == "tar shards"
    assert found.counts == {"train": {"cat": 1, "dog": 1}, "val": {"cat": 1, "dog": 1}}
    assert list(found.unreadable) == [f"{root}/val-0.tar!1.png"]
    assert found.shared == [[f"{root}/train-0.tar!0.png", f"{root}/val-0.tar!0.png"]]

    shard(root / "train-1.tar", ("0.png", c), ("0.cls", b"cat"))
    (root / "train-1.tar").write_bytes((root / "train-1.tar").read_bytes()[:700])
    found = check_data(root)
    assert "train-1.tar" in said(found)
    assert found.pictures == 4  # what the other shards hold is looked at all the same


def test_the_digits_are_clean():
    found = check_data("digits")
    assert found.pictures == 5000
    assert not found.problems
    assert not found.notes


def test_no_data_at_all(tmp_path):
    with pytest.raises(UserError, match="there is no data at"):
        check_data(tmp_path / "nowhere")
    assert "there is no picture" in said(check_data(tmp_path))


@pytest.mark.parametrize(
    "paths",
    [
        ("cat/1.png",),
        ("val/cat/1.png", "val/dog/1.png"),
        ("train/1.png", "val/1.png", "val/cat/2.png"),
        ("train/cat/1.png", "train/dog/1.png"),
        ("train/cat/1.png", "car/1.png"),
        ("train/1.png", "car/1.png"),
        ("train/1.png",),
        ("cat/1.png", "dog/1.png", "3.png"),
        ("train/cat/1.png", "val/cat/1.png"),
        ("train/cat/1.png", "train/dog/1.png", "val/cat/1.png", "val/dog/1.png"),
    ],
)
def test_clean_means_that_training_would_take_it(pictures, paths):
    root = pictures(*paths)
    found = check_data(root)
    try:
        open_data(root, labelled=found.layout[:8] != "pictures")
        refused = ""
    except UserError as error:
        refused = str(error)
    assert bool(found.problems) == bool(refused)


def test_progress_counts_every_picture(pictures):
    steps = []
    check_data(pictures("cat/1.png", "dog/1.png"), progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 2), (2, 2)]
