import multiprocessing
import os
import pickle
import random
import signal
import time
import traceback

import numpy as np
import pytest
import torch
from PIL import Image

from muntin.data import (
    Augment,
    Digits,
    Folder,
    Loader,
    Mixing,
    PictureInput,
    Subset,
    WithoutLabels,
    train_transform,
)
from muntin.data.loading.loader import lost_worker_said
from muntin.data.loading.reader import Work
from muntin.data.sources.place import UNMOVED
from muntin.errors import RunError, UserError

INPUTS = PictureInput(image_size=(16, 16), crop_ratio=0, mean=(0.13,), std=(0.3,))
AUGMENT = Augment(crop="padded", rotate=10, translate=0.1, randaugment=9, erasing=0.5)


def _with_a_mask(sample, rng, training):
    """As a task would prepare it."""
    mask = torch.from_numpy(rng.permutation(16).reshape(4, 4))
    return sample._replace(inputs=sample.inputs | {"mask": mask, "training": training})


def _loader(count=37, mixing=True, **how):
    arguments = {"batch_size": 8, "shuffle": True, "seed": 5} | how
    return Loader(
        Subset(Digits("train"), range(count)),
        train_transform(INPUTS, AUGMENT),
        prepare=_with_a_mask,
        mixing=Mixing(10, mixup=0.8, cutmix=1.0, smoothing=0.1) if mixing else None,
        **arguments,
    )


def _same(one, other):
    assert (one.names, one.places) == (other.names, other.places)
    assert torch.equal(one.indices, other.indices)
    for ours, theirs in ((one.inputs, other.inputs), (one.target, other.target)):
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            assert torch.equal(value, theirs[key]), key


def test_a_batch_holds_what_the_contract_says():
    batch = next(_loader().epoch(0))
    kinds = {
        "image": torch.float32,
        "mask": torch.int64,
        "training": torch.bool,
        "label": torch.int64,
        "soft": torch.float32,
    }
    assert {key: value.dtype for key, value in (batch.inputs | batch.target).items()} == kinds
    assert batch.inputs["image"].shape == (8, 1, 16, 16)
    assert batch.inputs["mask"].shape == (8, 4, 4)
    assert batch.target["soft"].shape == (8, 10)
    for number, index in enumerate(batch.indices.tolist()):
        assert batch.names[number] == f"digits/train/{index:05d}"
        assert batch.target["label"][number] == Digits("train").label(index)
        assert batch.places[number].size == (28, 28)
        assert batch.places[number].to_original != UNMOVED


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_gives_the_same_stream(workers):
    alone, helped = _loader(), _loader(workers=workers)
    for epoch in (0, 3):  # the second epoch reuses the processes
        expected = list(alone.epoch(epoch))
        got = list(helped.epoch(epoch))
        assert len(got) == len(expected) == len(helped) == 5
        for one, other in zip(got, expected):
            _same(one, other)
    for one, other in zip(list(helped.epoch(1, start=3)), list(alone.epoch(1))[3:], strict=True):
        _same(one, other)
    next(helped.epoch(0))  # an epoch left in the middle does not spoil the next
    _same(next(helped.epoch(2)), next(alone.epoch(2)))


def test_starting_later_continues_identically():
    for one, other in zip(_loader().epoch(4, start=2), list(_loader().epoch(4))[2:], strict=True):
        _same(one, other)
    assert list(_loader().epoch(4, start=5)) == []


def test_skipped_batches_are_not_read(monkeypatch):
    loader, read, original = _loader(), [], Digits.read
    monkeypatch.setattr(Digits, "read", lambda self, index: read.append(index) or original(self, index))
    (last,) = loader.epoch(0, start=4)
    assert read == last.indices.tolist()


def test_epochs_differ_in_order_pictures_masks_and_mixing():
    (one, *_), (other, *_) = list(_loader(count=8).epoch(0)), list(_loader(count=8).epoch(1))
    assert one.indices.tolist() != other.indices.tolist()
    back = [one.indices.argsort(), other.indices.argsort()]
    for key in ("image", "mask"):
        assert not torch.equal(one.inputs[key][back[0]], other.inputs[key][back[1]])
    assert not torch.equal(one.target["soft"][back[0]], other.target["soft"][back[1]])


def test_a_sample_is_augmented_alike_in_any_batch_size_and_on_any_rank():
    whole = {i: x for b in _loader(mixing=False).epoch(0) for i, x in zip(b.indices.tolist(), b.inputs["image"])}
    for rank in (0, 1):
        for batch in _loader(mixing=False, batch_size=3, rank=rank, world=2).epoch(0):
            assert all(torch.equal(whole[i], x) for i, x in zip(batch.indices.tolist(), batch.inputs["image"]))


@pytest.mark.parametrize("workers", [0, 2])
def test_copies_of_a_picture_are_changed_each_in_its_own_way_and_alike_after_a_resume(workers):
    whole = list(_loader(count=300, mixing=False, repeats=3, drop_last=True).epoch(1))
    assert sum(len(batch.indices) for batch in whole) == 256
    pictures = {}
    for batch in whole:
        for index, image in zip(batch.indices.tolist(), batch.inputs["image"]):
            assert not any(torch.equal(image, other) for other in pictures.setdefault(index, []))
            pictures[index].append(image)
    assert sorted(map(len, pictures.values())) == [1] + [3] * 85
    again = _loader(count=300, mixing=False, repeats=3, drop_last=True, workers=workers).epoch(1, start=28)
    for one, other in zip(again, whole[28:], strict=True):
        _same(one, other)


def test_processes_share_copies_as_one_would_take_them():
    how = {"count": 300, "mixing": False, "repeats": 3, "drop_last": True}
    ranks = [_loader(**how, batch_size=2, rank=rank, world=4).epoch(0) for rank in range(4)]
    for one, *shares in zip(_loader(**how).epoch(0), *ranks, strict=True):
        for ours, theirs in (
            (one.indices, [share.indices for share in shares]),
            (one.inputs["image"], [share.inputs["image"] for share in shares]),
        ):
            assert torch.equal(ours, torch.stack(theirs, 1).flatten(0, 1))


def test_repeats_want_a_whole_block_of_pictures():
    with pytest.raises(UserError, match=r"takes whole blocks of 256 pictures, and here are 255: add pictures, or"):
        _loader(count=255, repeats=3, batch_size=1)
    with pytest.raises(UserError, match="256 pictures do not fill one batch of 300"):
        _loader(count=300, repeats=3, batch_size=300, drop_last=True)
    with pytest.raises(UserError, match="repeats is 0; it must be at least 1"):
        _loader(repeats=0)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_global_generators_are_left_alone(workers):
    def states():
        return torch.get_rng_state().tolist(), random.getstate(), pickle.dumps(np.random.get_state())

    before = states()
    list(_loader(workers=workers).epoch(0))
    assert states() == before
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    one = next(_loader().epoch(0))
    torch.manual_seed(2), random.seed(2), np.random.seed(2)
    _same(one, next(_loader().epoch(0)))


def test_evaluation_reads_in_order_and_only_once():
    read = [
        name
        for rank in range(3)
        for batch in Loader(
            Subset(Digits("val"), range(20)), INPUTS.eval_transform(), batch_size=4, rank=rank, world=3
        ).epoch(0)
        for name in batch.names
    ]
    assert sorted(read) == [f"digits/val/{i:05d}" for i in range(20)]


def test_unlabelled_batches_have_no_label():
    source = WithoutLabels(Digits("train"))
    batch = next(Loader(source, INPUTS.eval_transform(), batch_size=2).epoch(0))
    assert (batch.inputs.keys(), batch.target) == ({"image"}, {})
    with pytest.raises(UserError, match="mixing and label smoothing need labels"):
        Loader(source, INPUTS.eval_transform(), batch_size=2, mixing=Mixing(10, smoothing=0.1))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_picture_is_named_whoever_reads_it(pictures, workers):
    root = pictures("cat/1.png", "cat/2.png", "dog/1.png")
    (root / "cat" / "2.png").write_text("not a picture")
    loader = Loader(Folder(root), train_transform(PictureInput(), Augment()), batch_size=1, workers=workers)
    batches = loader.epoch(0)
    next(batches)
    with pytest.raises(UserError) as error:
        next(batches)
    assert str(error.value).startswith(f"{root}/cat/2.png is not a picture that can be read")
    assert "Traceback" not in str(error.value)


def test_a_picture_that_cannot_be_transformed_is_named(pictures):
    root = pictures("cat/1.png", "dog/1.png")
    Image.new("F", (4, 4)).save(root / "cat" / "1.tif")
    with pytest.raises(UserError, match=r"cat/1\.tif: a picture of mode F"):
        list(Loader(Folder(root), PictureInput().eval_transform(), batch_size=1).epoch(0))


class _Fatal:
    """A transform that ends its worker process, or fails in it."""

    def __init__(self, how):
        self.how = how

    def __call__(self, sample, rng):
        if multiprocessing.parent_process() is None:
            raise AssertionError("read in the main process")
        if self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise RuntimeError("our own fault")


def test_a_lost_worker_stops_the_run():
    loader = Loader(Digits("val"), _Fatal("killed"), batch_size=4, workers=1)
    with pytest.raises(RunError, match="a data worker process was lost"):
        next(loader.epoch(0))


def test_a_fault_in_a_worker_keeps_its_traceback():
    loader = Loader(Digits("val"), _Fatal("faulty"), batch_size=4, workers=1)
    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*our own fault") as error:
        next(loader.epoch(0))
    assert not isinstance(error.value, RunError)
    traceback.clear_frames(error.tb)  # else they keep the worker alive until some later test


def test_a_worker_killed_in_a_later_epoch_is_noticed_at_once():
    loader = Loader(Digits("val"), INPUTS.eval_transform(), batch_size=10, workers=2)
    list(loader.epoch(0))
    batches = loader.epoch(1)
    next(batches)
    start = time.monotonic()

    def kill_and_go_on():
        with lost_worker_said():  # torch says it wherever this process is
            os.kill(loader._pool._iterator._workers[1].pid, signal.SIGKILL)
            list(batches)

    with pytest.raises(RunError, match="a data worker process was lost"):
        kill_and_go_on()
    assert time.monotonic() - start < 60  # on a busy machine; without notice it would wait for ever


def test_the_loss_of_a_worker_alone_is_translated():
    with pytest.raises(RuntimeError, match=r"^another fault$"), lost_worker_said():
        raise RuntimeError("another fault")


@pytest.fixture
def damaged(pictures):
    """A folder of 40 pictures, of which numbers 3, 17 and 30 cannot be read."""
    root = pictures(*[f"{kind}/{number:02d}.png" for kind in ("cat", "dog") for number in range(20)])
    for name in ("cat/03.png", "cat/17.png", "dog/10.png"):
        (root / name).write_bytes((root / name).read_bytes()[:60])
    return root


BAD = {3, 17, 30}


def _damaged_loader(root, **how):
    arguments = {"batch_size": 8, "shuffle": True, "seed": 2, "bad_share": 0.1} | how
    augment = Augment(crop="padded", erasing=0.5)
    return Loader(Folder(root), train_transform(PictureInput(image_size=(16, 16), crop_ratio=0), augment), **arguments)


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_bad_pictures_are_replaced_and_listed_alike_for_any_number_of_workers(damaged, tmp_path, workers):
    expected = list(_damaged_loader(damaged).epoch(1))
    loader = _damaged_loader(damaged, workers=workers, bad_list=tmp_path / "bad_files.txt")
    got = list(loader.epoch(1))
    for one, other in zip(got, expected, strict=True):
        _same(one, other)
    met = [index for batch in got for index in batch.indices.tolist()]
    assert len(met) == 40
    assert not BAD & set(met)
    assert set(range(40)) - set(met) == BAD
    lines = [line.split("\t") for line in (tmp_path / "bad_files.txt").read_text().splitlines()]
    order = [index for index in np.concatenate(loader._order.epoch(1)).tolist() if index in BAD]
    assert [line[0] for line in lines][:1] == [loader.source.name(order[0])]
    assert sorted(line[0] for line in lines) == [loader.source.name(index) for index in sorted(BAD)]
    assert all(line[1].startswith("is not a picture that can be read") for line in lines)


def test_the_stream_and_the_list_go_on_identically_after_a_resume(damaged, tmp_path):
    whole = _damaged_loader(damaged, bad_list=tmp_path / "whole.txt")
    expected = [batch for epoch in (0, 1) for batch in whole.epoch(epoch)]
    broken, first = tmp_path / "broken.txt", _damaged_loader(damaged, bad_list=tmp_path / "broken.txt").epoch(0)
    got = [next(first), next(first)]
    next(first)  # read and listed, but not trained on when the run was killed
    resumed = _damaged_loader(damaged, workers=1, bad_list=broken)
    got += [*resumed.epoch(0, start=2), *resumed.epoch(1)]
    for one, other in zip(got, expected, strict=True):
        _same(one, other)
    assert broken.read_text() == (tmp_path / "whole.txt").read_text()


def test_replacements_differ_between_epochs_and_stand_in_with_their_own_label(damaged):
    loader, met = _damaged_loader(damaged), []
    for epoch in range(3):
        indices = np.concatenate([batch.indices.numpy() for batch in loader.epoch(epoch)])
        for batch in loader.epoch(epoch):
            assert batch.target["label"].tolist() == [loader.source.label(index) for index in batch.indices.tolist()]
        wanted = np.concatenate(loader._order.epoch(epoch))
        met.append([indices[wanted == index].item() for index in sorted(BAD)])
    assert len({tuple(each) for each in met}) == 3


def test_a_bad_picture_is_replaced_in_all_its_copies_and_counted_once(damaged, monkeypatch):
    monkeypatch.setattr("muntin.data.loading.order.BLOCK", 20)
    monkeypatch.setattr("muntin.data.loading.loader.BLOCK", 20)
    repeated = _damaged_loader(damaged, repeats=3, drop_last=True)
    for epoch in range(3):
        met = np.concatenate([batch.indices.numpy() for batch in repeated.epoch(epoch)])
        assert len(met) == 40
        assert not BAD & set(met.tolist())
    assert 1 <= len(repeated.bad) <= len(BAD)


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_bad_pictures_stop_the_loader(damaged, tmp_path, workers):
    loader = _damaged_loader(damaged, bad_share=0.05, workers=workers, bad_list=tmp_path / "bad_files.txt")
    with pytest.raises(UserError, match=r"3 of 40 pictures cannot be read, more than"):
        list(loader.epoch(0))


@pytest.mark.parametrize("workers", [0, 1])
def test_evaluation_leaves_bad_pictures_out_and_counts_them(damaged, workers):
    loader = _damaged_loader(damaged, shuffle=False, batch_size=1, workers=workers)
    for _ in range(2):
        met = [index for batch in loader.epoch(0) for index in batch.indices.tolist()]
        assert met == [index for index in range(40) if index not in BAD]
        assert len(loader.bad) == 3


@pytest.mark.parametrize("epoch", [0, 5])
def test_processes_share_a_damaged_set_as_one_would_read_it(damaged, epoch):
    one = [batch.indices.tolist() for batch in _damaged_loader(damaged).epoch(epoch)]
    parts = [_damaged_loader(damaged, batch_size=4, rank=rank, world=2).epoch(epoch) for rank in range(2)]
    shared = [np.stack([part.indices.numpy() for part in both], 1) for both in zip(*parts, strict=True)]
    assert [batch.ravel().tolist() for batch in shared] == one


def test_pictures_that_cannot_be_transformed_are_bad_ones_too(pictures, tmp_path):
    root = pictures(*[f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(5)])
    Image.new("F", (4, 4)).save(root / "cat" / "9.tif")
    loader = _damaged_loader(root, batch_size=11, bad_list=tmp_path / "bad_files.txt")
    (batch,) = loader.epoch(0)
    assert len(batch.names) == 11
    assert (tmp_path / "bad_files.txt").read_text().startswith(f"{root}/cat/9.tif\t")


def test_where_nothing_can_be_read_the_loader_says_so(damaged):
    for file in damaged.glob("*/*.png"):
        file.write_bytes(b"")
    with pytest.raises(UserError, match="and 32 others tried in its place cannot be read"):
        list(_damaged_loader(damaged, bad_share=0.99).epoch(0))


def test_what_workers_receive_can_be_pickled():
    loader = _loader()
    reader = pickle.loads(pickle.dumps(loader._reader))
    batch, bad = reader.read(Work(0, 0, loader._order.epoch(0)[0]))
    assert not bad
    _same(batch, next(loader.epoch(0)))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"workers": -1}, "workers is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"bad_share": 1.0}, "bad_share is 1.0"),
        ({"rank": 2, "world": 2}, "rank is 2"),
        ({"batch_size": 64, "drop_last": True}, "37 pictures do not fill one batch of 64"),
        ({"count": 1, "world": 2}, "1 pictures do not fill one batch"),
    ],
)
def test_sizes_that_cannot_work_are_refused(how, message):
    with pytest.raises(UserError, match=message):
        _loader(**how)
