import io
import pickle

import pytest

from muntin.data.sources.shards.index import index_shard
from muntin.errors import UserError


class _Canary:
    def __reduce__(self):
        return open, ("canary", "w")


def _index(shard, tmp_path, members, **how):
    path = shard(tmp_path / "a.tar", members)
    return index_shard(io.BytesIO(path.read_bytes()), "a.tar", **how)


def _found(index):
    labels = [index.label_texts[label] for label in index.labels]
    return [(index.name(number), labels[number]) for number in range(len(index))]


def test_neighbours_of_one_key_are_one_sample(shard, tmp_path):
    index = _index(
        shard,
        tmp_path,
        {
            "a/1.JPG": b"one",
            "a/1.cls": b"7\n",
            "a/1.seg.png": b"another kind, left aside",
            "b/1.json": b'{"label": "cat", "width": 3}',
            "b/1.webp": b"two",
            "2.json": b'{"label": 12}',
            "2.png": b"three",
            "notes.txt": b"no sample",
            "._3.jpg": b"what a Mac adds",
            "README": b"",
        },
    )
    assert _found(index) == [("a/1.JPG", "7"), ("b/1.webp", "cat"), ("2.png", "12")]
    assert index.sizes.tolist() == [3, 3, 5]


def test_without_labels_only_pictures_count(shard, tmp_path):
    index = _index(shard, tmp_path, {"1.jpg": b"1", "2.jpg": b"2", "2.cls": b"\xff"}, labelled=False)
    assert len(index) == 2
    assert not len(index.labels)


def test_pickled_members_are_never_opened(shard, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    payload = pickle.dumps(_Canary())
    members = {f"1.{kind}": payload for kind in ("pyd", "pkl", "pickle", "pth", "npy")}
    assert len(_index(shard, tmp_path, {"1.jpg": b"1", "1.cls": b"0"} | members)) == 1
    with pytest.raises(UserError, match=r"1 of 1 pictures have no label \(1\.jpg\)"):
        _index(shard, tmp_path, {"1.jpg": b"1"} | members)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"1.jpg": b"", "2.jpg": b"", "2.cls": b"1"}, r"a\.tar: 1 of 2 pictures have no label \(1\.jpg\); each needs"),
        ({"1.jpg": b"", "1.cls": b" "}, "have no label"),
        ({"1.jpg": b"", "1.json": b"[]"}, "have no label"),
        ({"1.jpg": b"", "1.cls": b"\xff\xfe"}, r"a\.tar!1\.cls cannot be read as a label"),
        ({"1.jpg": b"", "1.json": b"{"}, "cannot be read as a label"),
        ({"1.jpg": b"", "1.json": b'{"label": [1]}'}, "must be a number or a class name, not list"),
        ({"1.jpg": b"", "1.json": b'{"label": true}'}, "not bool"),
        ({"1.jpg": b"", "1.json": b"[" * 100_000}, "cannot be read as a label"),
        ({"1.jpg": b"", "1.json": b'{"label": ' + b"9" * 5000 + b"}"}, "cannot be read as a label"),
        ({"1.jpg": b"", "1.cls": b"9" * 2000}, r"1\.cls has 2,000 bytes; a label has at most 1,024"),
        ({"1.jpg": b"", "1.png": b"", "1.cls": b"1"}, "has 2 pictures of the key 1"),
        ({"1.jpg": b"", "1.JPG": b"", "1.cls": b"1"}, "twice in a row"),
    ],
)
def test_samples_that_cannot_be_used_are_named(shard, tmp_path, members, message):
    with pytest.raises(UserError, match=message):
        _index(shard, tmp_path, members)
