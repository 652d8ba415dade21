import pytest
import torch

from muntin.errors import UserError
from muntin.layers.position import GridEmbedding, TableBias
from muntin.ops.resample import resize_bias_table, resize_grid
from muntin.ops.windows import gather_bias


def table_bias(window, heads=2) -> TableBias:
    bias = TableBias(window, heads)
    torch.nn.init.normal_(bias.table)
    return bias


def test_a_smaller_window_takes_the_offsets_it_needs():
    bias = table_bias((4, 5))
    whole, part = gather_bias(*bias((4, 5))), gather_bias(*bias((2, 3)))
    corner = [row * 5 + column for row in range(2) for column in range(3)]
    assert torch.equal(part, whole[:, corner][:, :, corner])


def test_a_larger_window_is_refused():
    with pytest.raises(UserError, match="resize it"):
        table_bias((4, 5))((4, 6))


def test_resizing_is_bicubic_and_keeps_what_is_frozen_frozen():
    bias = table_bias((3, 4))
    bias.table.requires_grad_(False)
    before = bias.table.clone()
    bias.resize_((5, 6))
    assert torch.equal(bias((5, 6))[0], resize_bias_table(before, (3, 4), (5, 6)))
    assert not bias.table.requires_grad


def test_the_embedding_is_added_as_it_is_on_its_own_grid_and_resized_elsewhere():
    position = GridEmbedding((3, 5), 4)
    torch.nn.init.normal_(position.embedding)
    assert torch.equal(position(torch.zeros(2, 3, 5, 4))[1], position.embedding)
    assert torch.equal(position(torch.zeros(1, 6, 7, 4))[0], resize_grid(position.embedding, (6, 7)))


def test_positions_do_not_decay():
    for module in (TableBias((3, 4), 2), GridEmbedding((3, 5), 4)):
        assert module.no_weight_decay() == set(dict(module.named_parameters()))
