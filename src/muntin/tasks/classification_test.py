import pytest
import torch

from muntin.models import Swin, SwinConfig
from muntin.tasks import Classification, Classifier


@pytest.fixture
def task() -> Classification:
    torch.manual_seed(0)
    return Classification(Classifier(Swin(SwinConfig(dim=8, depths=(1, 1), heads=(1, 2), window=(4, 4))), 3)).eval()


@pytest.fixture
def batch() -> dict:
    return {
        "image": torch.randn(2, 3, 20, 28, generator=torch.Generator().manual_seed(1)),
        "label": torch.tensor([2, 0]),
    }


def test_the_loss_is_the_mean_negative_log_likelihood(task, batch):
    log_p = task.predict(batch)["logits"].log_softmax(-1)
    torch.testing.assert_close(task(batch), {"cross_entropy": -(log_p[0, 2] + log_p[1, 0]) / 2})


def test_soft_targets_go_before_labels(task, batch):
    target = torch.tensor([[0.2, 0.3, 0.5], [0.9, 0.1, 0.0]])
    log_p = task.predict(batch)["logits"].log_softmax(-1)
    torch.testing.assert_close(
        task.losses(batch | {"target": target})["cross_entropy"], -(target * log_p).sum(-1).mean()
    )


def test_the_loss_is_computed_in_fp32_under_autocast(task, batch):
    with torch.autocast("cpu", torch.bfloat16):
        assert task.losses(batch)["cross_entropy"].dtype == torch.float32
        assert task.predict(batch)["logits"].dtype == torch.float32


def test_a_new_head_has_the_new_classes_and_keeps_the_rest(task, batch):
    model = task.model
    before = model.backbone(batch["image"]).levels[-1]
    model.reset_classifier(5)
    assert (model.num_classes, model.get_classifier().out_features) == (5, 5)
    assert model(batch["image"]).shape == (2, 5)
    assert torch.equal(model.backbone(batch["image"]).levels[-1], before)
    model.reset_classifier(0)
    assert model.num_classes == 0
    assert model(batch["image"]).shape == (2, model.num_features)


def test_the_readout_is_the_last_layer(task):
    assert task.layers()[-1] == [task.model.readout]
    assert len(task.layers()) == len(task.model.backbone.layers()) + 1
