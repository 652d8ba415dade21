import math

import pytest
import torch

from muntin.errors import UserError
from muntin.evals import TopK


def test_counts_equal_a_plain_loop():
    torch.manual_seed(0)
    logits, labels = torch.randn(64, 7), torch.randint(7, (64,))
    measure = TopK(7)
    measure.update(logits[:50], labels[:50])
    measure.update(logits[50:], labels[50:])
    result = measure.result()

    top1 = top5 = 0
    confusion = [[0] * 7 for _ in range(7)]
    for row, label in zip(logits.tolist(), labels.tolist()):
        order = sorted(range(7), key=lambda k: -row[k])
        top1 += order[0] == label
        top5 += label in order[:5]
        confusion[label][order[0]] += 1
    assert result.samples == 64
    assert result.top1 == top1 / 64
    assert result.top5 == top5 / 64
    assert result.confusion.tolist() == confusion
    assert result.per_class == pytest.approx([confusion[k][k] / sum(confusion[k]) for k in range(7)])


def test_summed_states_of_two_processes_equal_one_process():
    torch.manual_seed(0)
    logits, labels = torch.randn(11, 6), torch.randint(6, (11,))
    whole, first, second = TopK(6), TopK(6), TopK(6)
    whole.update(logits, labels)
    first.update(logits[0::2], labels[0::2])
    second.update(logits[1::2], labels[1::2])
    first.merge([first.state(), second.state()])
    assert first.result().top5 == whole.result().top5
    assert torch.equal(first.result().confusion, whole.result().confusion)


@pytest.mark.parametrize(("classes", "top5"), [(2, None), (5, None), (6, 0.5)])
def test_top5_is_left_out_where_it_would_say_nothing(classes, top5):
    measure = TopK(classes)
    measure.update(torch.arange(classes).expand(2, -1).float(), torch.tensor([0, classes - 1]))
    assert measure.result().top5 == top5
    assert measure.result().top1 == 0.5


def test_class_without_samples_has_no_recall():
    measure = TopK(2)
    measure.update(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    first, second = measure.result().per_class
    assert first == 1.0
    assert math.isnan(second)


@pytest.mark.parametrize("label", [-1, 2])
def test_label_outside_the_classes_is_refused(label):
    with pytest.raises(UserError, match="2 classes"):
        TopK(2).update(torch.zeros(1, 2), torch.tensor([label]))


def test_other_class_count_in_logits_is_refused():
    with pytest.raises(UserError, match=r"\(B, 2\)"):
        TopK(2).update(torch.zeros(1, 3), torch.tensor([0]))


def test_nothing_counted_is_an_error_not_a_division_by_zero():
    with pytest.raises(UserError, match="nothing to evaluate"):
        TopK(2).result()


def test_very_many_classes_are_counted_without_a_matrix():
    K = 2_001
    measure = TopK(K)
    assert measure.state().numel() == 2 * K + 1
    measure.update(torch.eye(K)[[0, 5, 5]], torch.tensor([0, 5, 7]))
    measure.merge([measure.state(), measure.state()])
    result = measure.result()
    assert (result.samples, result.top1, result.confusion) == (6, 2 / 3, None)
    assert (result.seen[5], result.per_class[5], result.per_class[7]) == (2, 1.0, 0.0)
