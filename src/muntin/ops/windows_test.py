import itertools
import math

import pytest
import torch

from muntin.ops.windows import (
    MASKED,
    crop_grid,
    gather_bias,
    keep_window,
    merge,
    pad_grid,
    padded_size,
    partition,
    relative_position_index,
    shift_mask,
    shift_regions,
    shrink_to_shorter_side,
)

GRIDS = [((6,), (3,)), ((4, 9), (2, 3)), ((4, 6, 10), (2, 3, 5))]  # size, window
CPU = torch.device("cpu")


def cells(size):
    return itertools.product(*map(range, size))


@pytest.mark.parametrize(("size", "window"), GRIDS)
def test_windows_hold_their_cells_row_by_row(size, window):
    x = torch.randn(2, *size, 3)
    windows = partition(x, window).view(2, -1, math.prod(window), 3)
    counts = [s // w for s, w in zip(size, window)]
    for number, corner in enumerate(cells(counts)):
        for place, offset in enumerate(cells(window)):
            cell = tuple(c * w + o for c, w, o in zip(corner, window, offset))
            assert torch.equal(windows[:, number, place], x[(slice(None), *cell)])


@pytest.mark.parametrize(("size", "window"), GRIDS)
def test_merge_undoes_partition(size, window):
    x = torch.randn(2, *size, 3)
    assert torch.equal(merge(partition(x, window), window, size), x)


def test_padding_is_zero_at_the_far_end_and_cropping_undoes_it():
    x = torch.randn(2, 5, 7, 3)
    size = padded_size((5, 7), (4, 3))
    padded = pad_grid(x, size)
    assert size == (8, 9)
    assert padded.shape == (2, 8, 9, 3)
    assert not padded[:, 5:].any()
    assert not padded[:, :, 7:].any()
    assert torch.equal(crop_grid(padded, (5, 7)), x)


def test_the_shorter_side_decides_about_every_axis():
    assert shrink_to_shorter_side((8, 16), (4, 4), (2, 2)) == ((4, 4), (2, 2))
    assert shrink_to_shorter_side((16, 4), (4, 4), (2, 2)) == ((4, 4), (0, 0))
    assert shrink_to_shorter_side((8, 2), (4, 4), (2, 2)) == ((2, 2), (0, 0))


def test_the_dense_rule_keeps_window_and_shift():
    assert keep_window((2, 3), (7, 7), (3, 3)) == ((7, 7), (3, 3))


@pytest.mark.parametrize(
    ("size", "window", "shift"),
    [((8,), (4,), (2,)), ((6, 8), (3, 4), (1, 2)), ((6, 8), (3, 4), (0, 2)), ((4, 6, 4), (2, 3, 4), (1, 1, 2))],
)
def test_shift_mask_blocks_tokens_from_the_far_side(size, window, shift):
    """Two cells that a roll put into one window may meet if they were neighbours before, not across the map's edge."""
    mask = shift_mask(size, window, shift)
    counts = [s // w for s, w in zip(size, window)]
    assert mask.shape == (math.prod(counts), math.prod(window), math.prod(window))
    for number, corner in enumerate(cells(counts)):
        for (a, one), (b, other) in itertools.product(enumerate(cells(window)), repeat=2):
            far = False
            for axis, (c, s, w, d) in enumerate(zip(corner, size, window, shift)):
                before = [(c * w + cell[axis] + d) % s for cell in (one, other)]  # where the cells were before the roll
                far |= before[0] - before[1] != one[axis] - other[axis]
            assert mask[number, a, b] == (MASKED if far else 0)


def test_without_a_shift_there_is_one_region():
    assert not shift_regions((6, 8), (3, 4), (0, 0)).any()
    assert not shift_mask((6, 8), (3, 4), (0, 0)).any()


@pytest.mark.parametrize("window", [(4,), (2, 3), (2, 3, 2)])
def test_position_index_counts_offsets_query_minus_key(window):
    offsets = list(itertools.product(*[range(-(w - 1), w) for w in window]))
    index = relative_position_index(window, CPU)
    for (a, query), (b, key) in itertools.product(enumerate(cells(window)), repeat=2):
        assert offsets[index[a, b]] == tuple(q - k for q, k in zip(query, key))


def test_the_bias_of_a_pair_is_the_tables_row_of_its_offset():
    table = torch.randn(3 * 5, 2)
    bias = gather_bias(table, relative_position_index((2, 3), CPU))
    assert bias.shape == (2, 6, 6)
    assert torch.equal(bias[:, 0, 5], table[0])  # from the first cell to the last: the most negative offset
    assert torch.equal(bias[:, 4, 4], table[7])
