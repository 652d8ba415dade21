import pytest
from PIL import Image

from muntin.data import Folder, Unlabelled, open_data
from muntin.errors import UserError


def test_labels_follow_the_sorted_class_names(pictures):
    root = pictures("dog/1.png", "cat/b/2.JPG", "cat/1.png", "cat/.hidden.png", ".cache/x.png")
    (root / "cat" / "notes.txt").write_text("no picture")
    folder = Folder(root)
    assert folder.classes == ("cat", "dog")
    assert [folder.name(i).removeprefix(f"{root}/") for i in range(3)] == ["cat/1.png", "cat/b/2.JPG", "dog/1.png"]
    assert [folder.label(i) for i in range(len(folder))] == [0, 0, 1]
    assert folder.read(2).target == {"label": 1}
    assert folder.read(2).inputs["image"].size == (12, 10)


def test_a_missing_folder(tmp_path):
    with pytest.raises(UserError, match=r"there is no data at .*nowhere.*needs a folder"):
        open_data(tmp_path / "nowhere")


def test_an_empty_folder(tmp_path):
    with pytest.raises(UserError, match="is empty; it needs class folders"):
        open_data(tmp_path)
    with pytest.raises(UserError, match="is empty; it needs pictures"):
        open_data(tmp_path, labelled=False)


def test_pictures_without_class_folders(pictures):
    with pytest.raises(UserError, match="has 2 pictures but no class folders"):
        open_data(pictures("1.png", "2.png"))


def test_class_folders_without_pictures(pictures):
    root = pictures("cat/1.png", "dog/1.png")
    (root / "emu").mkdir()
    (root / "yak").mkdir()
    with pytest.raises(UserError, match=r"class folders without pictures in .*: emu, yak"):
        open_data(root)


def test_only_empty_class_folders(tmp_path):
    (tmp_path / "cat").mkdir()
    with pytest.raises(UserError, match=r"is empty: its class folders \(cat\) have no pictures"):
        open_data(tmp_path)


def test_one_class(pictures):
    with pytest.raises(UserError, match=r"has one class \(cat\)"):
        open_data(pictures("cat/1.png"))


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_train_and_validation_folders(pictures, name):
    root = pictures("train/cat/1.png", "train/dog/1.png", f"{name}/cat/1.png", f"{name}/dog/1.png", f"{name}/dog/2.png")
    train, val = open_data(root)
    assert (len(train), len(val)) == (2, 3)
    assert train.classes == val.classes == ("cat", "dog")


def test_all_differing_classes_are_named(pictures):
    root = pictures("train/cat/1.png", "train/dog/1.png", "val/cat/1.png", "val/van/1.png", "val/bus/1.png")
    with pytest.raises(UserError) as error:
        open_data(root)
    assert "val has 2 classes missing from train: bus, van; train has 1 class missing from val: dog" in str(error.value)


def test_validation_without_train_and_twice(pictures):
    root = pictures("val/cat/1.png", "val/dog/1.png")
    with pytest.raises(UserError, match="has val/ but no train/"):
        open_data(root)
    pictures("train/cat/1.png", "valid/cat/1.png")
    with pytest.raises(UserError, match="has val, valid: keep one"):
        open_data(root)


def test_one_folder_is_split_by_class_and_seed(pictures):
    root = pictures(*[f"{name}/{n}.png" for name in ("cat", "dog") for n in range(10)], "emu/1.png", "emu/2.png")
    train, val = open_data(root, val_share=0.3, seed=5)
    assert [sum(val.label(i) == c for i in range(len(val))) for c in range(3)] == [3, 3, 1]

    def names(source):
        return {source.name(i) for i in range(len(source))}

    assert not names(train) & names(val)
    assert len(names(train) | names(val)) == 22
    assert names(open_data(root, val_share=0.3, seed=5).val) == names(val)
    assert names(open_data(root, val_share=0.3, seed=6).val) != names(val)
    assert open_data(root, val_share=0).val is None
    with pytest.raises(UserError, match="must be at least 0 and below 1"):
        open_data(root, val_share=1)


def test_train_alone_is_split_but_may_also_be_a_class(pictures):
    root = pictures(*[f"train/{name}/{n}.png" for name in ("cat", "dog") for n in range(4)])
    assert [len(part) for part in open_data(root)] == [6, 2]
    pictures(*[f"vehicles/{name}/{n}.png" for name in ("bus", "car", "train") for n in range(4)])
    assert open_data(root / "vehicles").train.classes == ("bus", "car", "train")


def test_unlabelled_pictures_at_any_depth(pictures):
    root = pictures("1.png", "a/2.png", "a/b/3.png")
    source = Unlabelled(root)
    assert len(source) == 3
    assert source.classes == ()
    assert source.read(0).target == {}
    (root / "a" / "loop").symlink_to(root, target_is_directory=True)
    assert len(Unlabelled(root)) == 3


def test_unlabelled_keeps_validation_pictures_apart(pictures):
    root = pictures("train/cat/1.png", "train/dog/1.png", "val/cat/1.png")
    train, val = open_data(root, labelled=False)
    assert (len(train), len(val)) == (2, 1)
    assert train.classes == ()


def test_a_picture_that_is_none_is_named_on_reading(pictures):
    root = pictures("cat/1.png", "dog/1.png")
    (root / "cat" / "1.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(UserError, match=r"cat/1\.png is not a picture"):
        Folder(root).read(0)
    assert isinstance(Folder(root).read(1).inputs["image"], Image.Image)


def test_a_link_that_leads_round_in_a_circle_is_no_folder(pictures):
    root = pictures("cat/1.png", "dog/1.png")
    (root / "self").symlink_to("self")
    assert open_data(root, val_share=0).train.classes == ("cat", "dog")
