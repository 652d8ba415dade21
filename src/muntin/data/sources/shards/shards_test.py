import pickle

import numpy as np
import pytest
import torch

from muntin.data import Loader, PictureInput, Subset, open_data
from muntin.data.loading.order import SHARDS_AT_ONCE, shard_by_shard
from muntin.data.sources.shards.shards import Shards
from muntin.errors import UserError

TRANSFORM = PictureInput(image_size=(8, 8)).eval_transform()


@pytest.fixture
def folder(tmp_path, shard, samples):
    """A function that writes shards {name: {key: label}} and returns their folder."""

    def write(**shards):
        for name, labels in shards.items():
            shard(tmp_path / f"{name.replace('_', '/', name.startswith(('train_', 'val_')))}.tar", samples(labels))
        return tmp_path

    return write


def _labels(prefix, count, kinds=("cat", "dog")):
    return {f"{prefix}{number}": kinds[number % len(kinds)] for number in range(count)}


def test_pictures_and_labels_are_those_of_the_shards(folder, shard, samples):
    root = folder(a=_labels("a", 3), b=_labels("b", 2))
    source = open_data(root, val_share=0).train
    assert source.classes == ("cat", "dog")
    assert [source.label(i) for i in range(5)] == [0, 1, 0, 0, 1]
    assert [source.name(i).removeprefix(f"{root}/") for i in (2, 3)] == ["a.tar!a2.png", "b.tar!b0.png"]
    expected = np.random.default_rng(list(b"b1")).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    inputs, target, name, place = source.read(4)
    assert np.array_equal(np.asarray(inputs["image"]), expected)
    assert (target, name, place.size) == ({"label": 1}, f"{root}/b.tar!b1.png", (10, 12))


def test_whole_numbers_are_sorted_as_such(folder):
    source = open_data(folder(a={"1": 10, "2": 9, "3": 2}), val_share=0).train
    assert source.classes == ("2", "9", "10")
    assert [source.label(i) for i in range(3)] == [2, 1, 0]


def test_classes_txt_names_the_numbers(folder):
    root = folder(a={"1": 2, "2": "cat", "3": 0})
    (root / "classes.txt").write_text("bird\ncat\ndog\n")
    source = open_data(root, val_share=0).train
    assert source.classes == ("bird", "cat", "dog")
    assert [source.label(i) for i in range(3)] == [2, 1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bird\ncat\n", r"a\.tar has label 2, and classes\.txt names 2 classes"),
        ("bus\nyak\ncats\n", r"unknown class 'cat': did you mean cats\?"),
        ("bird\nbird\n", "needs two class names or more, one a line, none twice"),
    ],
)
def test_classes_txt_that_does_not_fit(folder, text, message):
    root = folder(a={"1": 2, "2": "cat", "3": 0})
    (root / "classes.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        open_data(root)


@pytest.mark.parametrize("names", [("train_0", "val_0"), ("train-0", "val-0"), ("set-train-0", "set-validation-0")])
def test_a_split_is_recognised_by_folders_or_names(folder, names):
    root = folder(**dict(zip(names, (_labels("a", 4), _labels("b", 2)))))
    train, val = open_data(root)
    assert (len(train), len(val)) == (4, 2)
    train, val = open_data(root, labelled=False)
    assert (len(train), len(val), train.classes, train.label(0)) == (4, 2, (), None)


def test_shards_without_a_split_are_held_out_by_class(folder):
    train, val = open_data(folder(a=_labels("a", 20), b=_labels("b", 20)), val_share=0.25)
    assert (len(train), len(val)) == (30, 10)
    assert [sum(val.label(i) == label for i in range(10)) for label in (0, 1)] == [5, 5]


def test_one_shard_alone_is_enough(folder):
    assert len(open_data(folder(a=_labels("a", 5)) / "a.tar", val_share=0).train) == 5


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        ({"train-0": _labels("a", 4), "val-0": _labels("b", 4, ("cat", "van"))}, "missing from train: van"),
        (
            {"train-0": _labels("a", 4), "more": _labels("b", 4)},
            r"shards for train and some that do not say: .*more\.tar",
        ),
        ({"val-0": _labels("a", 4), "val-1": _labels("b", 4)}, "has shards for val but none for train"),
        ({"train-0": _labels("a", 4), "val-0": _labels("b", 4), "valid-0": _labels("c", 4)}, "keep one kind"),
        ({"a": _labels("a", 4, ("cat",))}, r"one class \(cat\)"),
        ({"a": {}}, "no pictures in"),
    ],
)
def test_shards_that_cannot_be_used(folder, shards, message):
    with pytest.raises(UserError, match=message):
        open_data(folder(**shards))


def test_a_tar_file_beside_folders_is_not_the_data(folder, pictures):
    root = pictures("cat/1.png", "dog/1.png")
    folder(backup=_labels("a", 4))
    assert len(open_data(root, val_share=0).train) == 2


def test_every_shard_that_is_cut_off_is_named_at_the_start(folder):
    root = folder(a=_labels("a", 4), b=_labels("b", 4), c=_labels("c", 4))
    for name in ("a", "c"):
        (root / f"{name}.tar").write_bytes((root / f"{name}.tar").read_bytes()[:2000])
    with pytest.raises(UserError, match=r"a\.tar is cut off after 2,000 bytes.*; .*c\.tar is cut off") as error:
        open_data(root)
    assert "b.tar" not in str(error.value)


def test_a_shard_that_becomes_shorter_later_is_a_bad_picture(folder):
    root = folder(a=_labels("a", 4))
    source = open_data(root, val_share=0).train
    (root / "a.tar").write_bytes((root / "a.tar").read_bytes()[:1000])
    with pytest.raises(UserError, match=r"a\.tar has become shorter"):
        source.read(3)


def test_a_member_above_the_limit_is_not_read(folder, monkeypatch):
    source = open_data(folder(a=_labels("a", 2)), val_share=0).train
    monkeypatch.setattr("muntin.data.sources.shards.shards.FILE_LIMIT", 100)
    with pytest.raises(UserError, match=r"a\.tar!a0\.png has \d+ bytes, more than the 100 allowed"):
        source.read(0)


def test_damaged_pictures_are_named_by_shard_and_member(tmp_path, shard):
    root = shard(tmp_path / "a.tar", {"1.jpg": b"no", "1.cls": b"0", "2.jpg": b"", "2.cls": b"1"}).parent
    source = open_data(root, val_share=0).train
    for index in (0, 1):
        with pytest.raises(UserError, match=rf"a\.tar!{index + 1}\.jpg"):
            source.read(index)


def test_an_epoch_goes_through_the_shards_group_by_group():
    shards = np.repeat(np.arange(20), 30)
    one, other = (shard_by_shard(shards, np.random.default_rng(seed)) for seed in (0, 1))
    assert sorted(one) == list(range(600))
    assert not np.array_equal(one, other)
    size = 30 * SHARDS_AT_ONCE
    groups = [set(shards[one[start : start + size]].tolist()) for start in range(0, 600, size)]
    assert [len(group) for group in groups] == [SHARDS_AT_ONCE, SHARDS_AT_ONCE, 20 - 2 * SHARDS_AT_ONCE]
    assert set.union(*groups) == set(range(20))
    first = shards[one[:size]]
    assert len(set(first[:30].tolist())) > 2  # mixed inside a group


def test_part_of_a_source_is_read_shard_by_shard_too(folder):
    root = folder(**{f"s{number}": _labels(f"s{number}-", 4) for number in range(12)})
    train = open_data(root, val_share=0.25, seed=1).train
    assert isinstance(train, Subset)
    batches = list(Loader(train, TRANSFORM, batch_size=4, shuffle=True).epoch(0))
    met = [name.split("!")[0] for batch in batches for name in batch.names]
    expected = {train.name(index).split("!")[0] for index in range(len(train))}
    assert set(met) == expected
    last = len(expected) - SHARDS_AT_ONCE
    tail = [place for place in met if met.index(place) >= len(met) - 4 * last]
    assert len(set(tail)) >= last - 1  # the shards of the last group come late, all at once


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_and_a_later_start_give_the_same_stream(folder, workers):
    root = folder(**{f"s{number}": _labels(f"s{number}-", 5) for number in range(3)})
    source = open_data(root, val_share=0).train
    source.read(0)  # opens a file before the processes start
    alone = Loader(source, TRANSFORM, batch_size=4, shuffle=True, seed=3)
    helped = Loader(source, TRANSFORM, batch_size=4, shuffle=True, seed=3, workers=workers)
    for start in (0, 2):
        for one, other in zip(list(alone.epoch(1))[start:], helped.epoch(1, start), strict=True):
            assert one.names == other.names
            assert torch.equal(one.inputs["image"], other.inputs["image"])


def test_a_source_with_open_files_can_be_pickled(folder):
    source = Shards([str(folder(a=_labels("a", 4)) / "a.tar")])
    before = source.read(1)
    after = pickle.loads(pickle.dumps(source)).read(1)
    assert np.array_equal(np.asarray(before.inputs["image"]), np.asarray(after.inputs["image"]))


def test_more_shards_than_files_kept_open(folder, monkeypatch):
    monkeypatch.setattr("muntin.data.sources.shards.storage.MOST_OPEN", 2)
    source = open_data(folder(**{f"s{n}": _labels(f"s{n}-", 2) for n in range(4)}), val_share=0).train
    assert [source.read(index).name for index in (0, 2, 4, 6, 0)] == [source.name(index) for index in (0, 2, 4, 6, 0)]
    assert len(source._ranges._open) == 2


def test_a_run_folder_beside_the_shards_changes_nothing(folder):
    root = folder(a=_labels("a", 4))
    (root / "runs" / "first").mkdir(parents=True)
    assert len(open_data(root, val_share=0).train) == 4


def test_a_folder_of_pictures_may_be_named_like_a_shard(pictures, tmp_path):
    pictures("photos.tar/cat/1.png", "photos.tar/dog/1.png")
    assert open_data(tmp_path / "photos.tar", val_share=0).train.classes == ("cat", "dog")
