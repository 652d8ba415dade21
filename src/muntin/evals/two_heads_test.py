import torch

from muntin.evals import Heads


def test_each_head_is_counted_alone_and_their_disagreements_too():
    by_class = torch.eye(4)[[0, 1, 2, 3, 0]]
    by_distillation = torch.eye(4)[[0, 1, 1, 0, 0]]
    measure, other = Heads(), Heads()
    measure.update(by_class[:3], by_distillation[:3], torch.tensor([0, 1, 2]))
    other.update(by_class[3:], by_distillation[3:], torch.tensor([0, 1]))
    measure.merge([measure.state(), other.state()])  # as over two processes
    assert measure.result() == (3 / 5, 3 / 5, 2 / 5)
    assert other.result() == (0, 1 / 2, 1 / 2)
