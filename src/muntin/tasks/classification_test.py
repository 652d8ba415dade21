import pytest
import torch
import torch.nn.functional as F
from torch import nn

from muntin.data import Batch
from muntin.errors import UserError
from muntin.heads import DistilledReadout
from muntin.models import Swin, SwinConfig
from muntin.models.backbone import Features
from muntin.tasks import Classification, Classifier
from muntin.tasks.classification import binary_cross_entropy


@pytest.fixture
def task() -> Classification:
    torch.manual_seed(0)
    return Classification(Classifier(Swin(SwinConfig(dim=8, depths=(1, 1), heads=(1, 2), window=(4, 4))), 3)).eval()


@pytest.fixture
def batch() -> Batch:
    image = torch.randn(2, 3, 20, 28, generator=torch.Generator().manual_seed(1))
    return Batch({"image": image}, {"label": torch.tensor([2, 0])})


def test_the_loss_is_the_mean_negative_log_likelihood(task, batch):
    log_p = task.answer(batch).logits.log_softmax(-1)
    torch.testing.assert_close(task(batch).terms, {"cross_entropy": -(log_p[0, 2] + log_p[1, 0]) / 2})


def test_soft_targets_go_before_labels(task, batch):
    target = torch.tensor([[0.2, 0.3, 0.5], [0.9, 0.1, 0.0]])
    log_p = task.answer(batch).logits.log_softmax(-1)
    torch.testing.assert_close(
        task.losses(batch._replace(target=batch.target | {"soft": target})).terms["cross_entropy"],
        -(target * log_p).sum(-1).mean(),
    )


def test_binary_cross_entropy_asks_each_class_alone():
    logits = torch.tensor([[0.3, -1.2, 2.0], [1.0, 0.5, -0.1]])
    yes, no = logits.sigmoid().log(), (-logits).sigmoid().log()
    one_each = -(no[0, 0] + no[0, 1] + yes[0, 2] + yes[1, 0] + no[1, 1] + no[1, 2]) / 6
    torch.testing.assert_close(binary_cross_entropy(logits, torch.tensor([2, 0])), one_each)
    mixed = torch.tensor([[0.0, 0.1, 0.9], [1.0, 0.0, 0.0]])  # however little of a class there is, it is there
    both = -(no[0, 0] + yes[0, 1] + yes[0, 2] + yes[1, 0] + no[1, 1] + no[1, 2]) / 6
    torch.testing.assert_close(binary_cross_entropy(logits, mixed), both)


def test_the_loss_is_chosen_by_name(task, batch):
    logits = task.answer(batch).logits
    losses = Classification(task.model, "binary_cross_entropy").losses(batch).terms
    torch.testing.assert_close(losses, {"binary_cross_entropy": binary_cross_entropy(logits, batch.target["label"])})
    with pytest.raises(UserError, match="unknown loss 'cross_entropi': did you mean cross_entropy"):
        Classification(task.model, "cross_entropi")


class Tokens(nn.Module):
    """Two tokens of four numbers: the least that a model of two heads can be made of."""

    channels = (4,)

    def forward(self, x):
        return Features([], x)


def test_without_a_teacher_both_heads_of_a_distilled_model_learn_the_labels():
    torch.manual_seed(0)
    model = Classifier(Tokens(), 3, DistilledReadout)
    batch = Batch({"image": torch.randn(2, 2, 4)}, {"label": torch.tensor([1, 2])})
    found = Classification(model)(batch).terms["cross_entropy"]
    each = [F.cross_entropy(logits, batch.target["label"]) for logits in model(batch.inputs["image"])]
    torch.testing.assert_close(found, (each[0] + each[1]) / 2)


def test_a_model_of_two_heads_answers_by_their_mean_and_shows_both():
    torch.manual_seed(0)
    task = Classification(Classifier(Tokens(), 3, DistilledReadout)).eval()
    batch = Batch({"image": torch.randn(2, 2, 4)}, {"label": torch.tensor([1, 2])})
    answer = task.answer(batch)
    torch.testing.assert_close(answer.logits, (answer.heads[0] + answer.heads[1]) / 2)
    assert torch.equal(answer.logits, task.model(batch.inputs["image"]))
    meter = task.meter()
    meter.update(answer, batch)
    assert set(meter.result().numbers) == {"top1", "class_head_top1", "distillation_head_top1", "heads_disagree"}


def test_the_loss_is_computed_in_fp32_under_autocast(task, batch):
    with torch.autocast("cpu", torch.bfloat16):
        assert task.losses(batch).terms["cross_entropy"].dtype == torch.float32
        assert task.answer(batch).logits.dtype == torch.float32


def test_a_new_head_has_the_new_classes_and_keeps_the_rest(task, batch):
    model = task.model
    before = model.backbone(batch.inputs["image"]).levels[-1]
    model.reset_classifier(5)
    assert (model.num_classes, model.get_classifier().out_features) == (5, 5)
    assert model(batch.inputs["image"]).shape == (2, 5)
    assert torch.equal(model.backbone(batch.inputs["image"]).levels[-1], before)
    model.reset_classifier(0)
    assert model.num_classes == 0
    assert model(batch.inputs["image"]).shape == (2, model.num_features)


def test_the_readout_is_the_last_layer(task):
    assert task.layers()[-1] == [task.model.readout]
    assert len(task.layers()) == len(task.model.backbone.layers()) + 1
