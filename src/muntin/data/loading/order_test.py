import numpy as np
import pytest

from muntin.data.loading.order import Order


def _orders(count, batch_size, world, **how):
    return [Order(count, batch_size, seed=3, rank=rank, world=world, **how) for rank in range(world)]


@pytest.mark.parametrize("count", [1, 7, 24, 25, 26, 31])
@pytest.mark.parametrize("drop_last", [True, False])
def test_in_training_all_ranks_together_take_what_one_process_would(count, drop_last):
    one = Order(count, 12, seed=3, shuffle=True, drop_last=drop_last, rank=0, world=1).epoch(2)
    ranks = _orders(count, 4, 3, shuffle=True, drop_last=drop_last)
    assert len({len(order) for order in ranks}) == 1
    for number in range(len(ranks[0])):
        together = np.concatenate([order.epoch(2)[number] for order in ranks])
        assert all(len(order.epoch(2)[number]) for order in ranks)
        assert sorted(together) == sorted(one[number])
    left_out = count - sum(len(batch) for order in ranks for batch in order.epoch(2))
    assert left_out == (count % 12 if drop_last else count % 12 if count % 12 < 3 else 0)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 24, 26])
def test_in_evaluation_each_sample_comes_exactly_once(count):
    for rank, order in enumerate(_orders(count, 4, 3, shuffle=False, drop_last=False)):
        batches = order.epoch(0)
        assert len(batches) == len(order)
        assert [index for batch in batches for index in batch] == list(range(rank, count, 3))
        assert all(len(batch) == 4 for batch in batches[:-1])


def test_epochs_and_seeds_differ_and_repeat():
    order = Order(50, 50, seed=0, shuffle=True, drop_last=False, rank=0, world=1)
    first = order.epoch(0)[0].tolist()
    assert first == order.epoch(0)[0].tolist()
    assert first != order.epoch(1)[0].tolist()
    assert first != Order(50, 50, seed=1, shuffle=True, drop_last=False, rank=0, world=1).epoch(0)[0].tolist()


def test_repeats_come_in_a_row_and_an_epoch_is_cut_to_whole_blocks():
    count, (order,) = 600, _orders(600, 32, 1, shuffle=True, drop_last=True, repeats=3)
    views = np.concatenate(order.epoch(0))
    assert len(views) == 512
    samples, copies = views % count, views // count
    assert copies.tolist() == (np.arange(512) % 3).tolist()
    assert (samples[0:510:3] == samples[1:510:3]).all()
    assert (samples[0:510:3] == samples[2:510:3]).all()
    assert len(set(samples.tolist())) == 171
    assert len(set(views.tolist())) == 512


def test_copies_go_to_different_processes_which_together_take_what_one_would():
    one = Order(600, 12, seed=3, shuffle=True, drop_last=True, rank=0, world=1, repeats=3).epoch(2)
    ranks = [order.epoch(2) for order in _orders(600, 4, 3, shuffle=True, drop_last=True, repeats=3)]
    for whole, *shares in zip(one, *ranks, strict=True):
        assert sorted(np.concatenate(shares)) == sorted(whole)
        assert all(len(set((share % 600).tolist())) == 4 for share in shares)


def test_without_repeats_every_sample_counts():
    (order,) = _orders(300, 1, 1, shuffle=True, drop_last=True, repeats=1)
    assert sorted(np.concatenate(order.epoch(0))) == list(range(300))
