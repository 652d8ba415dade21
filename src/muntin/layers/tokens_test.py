import pytest
import torch
from torch import nn

from muntin.layers.tokens import PrefixTokens, split_tokens


@pytest.mark.parametrize("positions", [True, False])
def test_tokens_come_first_in_order_each_with_its_position(positions):
    prefix = PrefixTokens(("class_token", "distillation_token"), 4, positions)
    for parameter in prefix.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(3, 5, 4)
    y = prefix(x)
    assert torch.equal(y[:, 2:], x)
    for i, token in enumerate((prefix.class_token, prefix.distillation_token)):
        expected = token[0] + prefix.position[i] if positions else token[0]
        assert all(torch.equal(row, expected) for row in y[:, i])


def test_no_names_leave_the_sequence_as_it_is():
    prefix, x = PrefixTokens((), 4), torch.randn(2, 5, 4)
    assert prefix(x) is x
    assert not list(prefix.parameters())


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_sequence_is_split_into_its_map_and_what_stands_before_it(count):
    cells, tokens = torch.randn(2, 3, 4, 6), torch.randn(2, count, 3)
    grid, prefix = split_tokens(torch.cat((tokens, cells.flatten(2).mT), 1), (4, 6))
    assert torch.equal(grid, cells)
    assert (prefix is None) if not count else torch.equal(prefix, tokens)
