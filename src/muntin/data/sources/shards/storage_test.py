import os

import pytest

from muntin.data import open_data
from muntin.data.sources.shards.storage import Ranges, inside, is_url, names_in, opened
from muntin.errors import RunError, UserError

fsspec = pytest.importorskip("fsspec", reason="object stores need fsspec: pip install 'muntin[shards]'")


@pytest.fixture
def bucket(tmp_path, shard, samples):
    """A store in memory with shards to train on and to validate on."""
    store = fsspec.filesystem("memory")
    for split, count in (("train", 6), ("val", 4)):
        path = shard(tmp_path / "a.tar", samples({f"{split}{n}": n % 2 for n in range(count)}))
        store.pipe(f"/bucket/{split}/0.tar", path.read_bytes())
    yield store
    store.rm("/bucket", recursive=True)


def test_shards_in_a_store(bucket):
    bucket.pipe("/bucket/classes.txt", b"cat\ndog\n")
    train, val = open_data("memory://bucket")
    assert (len(train), len(val), train.classes) == (6, 4, ("cat", "dog"))
    assert train.read(1).name == "memory://bucket/train/0.tar!train1.png"
    assert train.read(1).inputs["image"].size == (12, 10)
    assert len(open_data("memory://bucket/train", labelled=False, val_share=0).train) == 6
    assert len(open_data("memory://bucket/val/0.tar", val_share=0).train) == 4


def test_urls_of_files_and_stores_behind_a_cache(bucket, tmp_path, shard, samples):
    shard(tmp_path / "shards" / "1.tar", samples({"a": 0, "b": 1}))
    source = open_data(f"file://{tmp_path}/shards", val_share=0).train
    assert source.read(1).inputs["image"].size == (12, 10)
    assert open_data("simplecache::memory://bucket").train.read(2).target == {"label": 0}


def test_a_store_that_stops_answering_ends_the_run_and_is_no_bad_picture(bucket):
    source = open_data("memory://bucket").train
    bucket.rm("/bucket/train/0.tar")
    with pytest.raises(RunError, match=r"memory://bucket/train/0\.tar does not answer \(FileNotFoundError"):
        source.read(0)
    bucket.pipe("/bucket/train/0.tar", b"short")
    with pytest.raises(UserError, match="has become shorter"):
        source.read(0)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("memory://nothing", "no tar shards at memory://nothing; it needs"),
        ("nosuch://bucket", "nosuch://bucket cannot be read .*Protocol not known"),
        ("pipe:cat secrets", r"commands \(pipe:\) are never run"),
        ("simplecache::pipe:cat secrets", r"commands \(pipe:\) are never run"),
    ],
)
def test_places_that_cannot_be_reached(place, message):
    with pytest.raises(UserError, match=message):
        open_data(place)


def test_local_and_remote_places_are_told_apart(tmp_path):
    assert is_url("s3://bucket/a b")
    assert is_url("simplecache::s3://bucket")
    assert not any(map(is_url, ["photos", "/a/b", "C:\\photos", "./a:b", "digits"]))
    (tmp_path / "b").mkdir()
    (tmp_path / "a.tar").touch()
    assert names_in(str(tmp_path)) == ["a.tar", "b/"] == names_in(f"file://{tmp_path}")
    assert names_in(str(tmp_path / "c")) == []
    assert inside("s3://bucket/", "a.tar") == "s3://bucket/a.tar"


def test_local_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match=r"none\.tar cannot be read"), opened(str(tmp_path / "none.tar")):
        pass
    with pytest.raises(UserError, match=r"none\.tar cannot be read at byte 5"):
        Ranges().read(str(tmp_path / "none.tar"), 5, 1)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "0.tar")
    with pytest.raises(UserError, match="is a folder or a device, not a file"), opened(str(tmp_path / "0.tar")):
        pass
