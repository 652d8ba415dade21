import torch

from muntin.layers.position import GridEmbedding
from muntin.ops.resample import resize_grid


def test_the_embedding_is_added_as_it_is_on_its_own_grid_and_resized_elsewhere():
    position = GridEmbedding((3, 5), 4)
    torch.nn.init.normal_(position.embedding)
    assert torch.equal(position(torch.zeros(2, 3, 5, 4))[1], position.embedding)
    assert torch.equal(position(torch.zeros(1, 6, 7, 4))[0], resize_grid(position.embedding, (6, 7)))


def test_positions_do_not_decay():
    assert GridEmbedding((3, 5), 4).no_weight_decay() == {"embedding"}
