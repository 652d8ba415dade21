import copy
import math
from functools import partial

import pytest
import torch
from torch import nn

from muntin.data import Batch
from muntin.engine import Optim
from muntin.engine.ema import Ema
from muntin.engine.optim import parameter_groups
from muntin.errors import UserError
from muntin.heads import DistilledReadout
from muntin.models.backbone import Features
from muntin.tasks import Classifier, Distillation, Renormalised, hard_distillation, soft_distillation


class Squares(nn.Module):
    """Cells of 4 x 4 pixels, two tokens before them: the least that a distilled student can be made of."""

    channels, strides = (6,), ((4, 4),)

    def __init__(self):
        super().__init__()
        self.proj = nn.Conv2d(3, 6, 4, 4)

    def forward(self, x):
        cells = self.proj(x)
        mean, deepest = cells.flatten(2).mean(2), cells.flatten(2).amax(2)
        return Features([cells], torch.stack([mean, deepest], 1))

    def initialise(self):
        self.proj.reset_parameters()

    def layers(self):
        return [[self.proj]]


class Teacher(nn.Module):
    """Logits from the mean colour; dropout shows whether it is in eval mode."""

    def __init__(self, classes=3):
        super().__init__()
        self.head, self.drop, self.seen = nn.Linear(3, classes), nn.Dropout(0.5), []
        self.register_buffer("scale", torch.full((1,), 20.0))

    def forward(self, x):
        self.seen.append(x)
        return self.drop(self.head(x.mean((2, 3)))) * self.scale


def student(readout=DistilledReadout):
    torch.manual_seed(0)
    return Classifier(Squares(), 3, readout)


def plain():
    torch.manual_seed(0)
    return Classifier(Squares(), 3)


def teacher(classes=3):
    torch.manual_seed(1)
    return Teacher(classes)


@pytest.fixture
def batch():
    random = torch.Generator().manual_seed(2)
    image, target = torch.randn(4, 3, 8, 8, generator=random), torch.rand(4, 3, generator=random)
    return Batch({"image": image}, {"label": torch.tensor([2, 0, 1, 1]), "soft": target / target.sum(1, keepdim=True)})


def test_hard_distillation_is_the_log_likelihood_of_the_teachers_first_choice():
    ours, theirs = torch.randn(5, 7), torch.randn(5, 7)
    expected = -sum(ours.log_softmax(1)[i, theirs[i].argmax()] for i in range(5)) / 5
    torch.testing.assert_close(hard_distillation(ours, theirs), expected)


def test_soft_distillation_is_a_divergence_of_flattened_probabilities():
    ours, theirs, tau = torch.randn(5, 7), torch.randn(5, 7), 3.0
    total = 0.0
    for i in range(5):
        p, q = (theirs[i] / tau).softmax(0).tolist(), (ours[i] / tau).softmax(0).tolist()
        total += sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q)) * tau**2
    official, textbook = (
        soft_distillation(ours, theirs, tau, normalisation).item() for normalisation in ("official", "textbook")
    )
    assert official == pytest.approx(total / 35, rel=1e-4)
    assert textbook == pytest.approx(total / 5, rel=1e-4)
    assert soft_distillation(ours, ours, tau).item() == pytest.approx(0, abs=1e-7)


def test_soft_distillation_refuses_what_it_cannot_divide_by():
    logits = torch.zeros(1, 2)
    with pytest.raises(UserError, match="temperature is 0"):
        soft_distillation(logits, logits, 0.0)
    with pytest.raises(UserError, match="unknown normalisation 'offical': did you mean official"):
        soft_distillation(logits, logits, 1.0, "offical")


def test_with_the_token_each_head_has_its_own_teacher(batch):
    task = Distillation(student(), teacher(), alpha=0.3)
    by_class, by_token = task.model(batch.inputs["image"])
    said = task.teacher(batch.inputs["image"])
    losses = task(batch).terms
    label = -(batch.target["soft"] * by_class.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(losses["cross_entropy"], 0.7 * label)
    torch.testing.assert_close(losses["distillation"], 0.3 * hard_distillation(by_token, said))
    losses["distillation"].backward()
    assert task.model.readout.head.weight.grad is None
    assert task.model.readout.head_distilled.weight.grad.any()


def test_without_the_token_the_one_head_learns_both(batch):
    imitate = partial(soft_distillation, temperature=3.0, normalisation="textbook")
    task = Distillation(plain(), teacher(), imitate=imitate, token=False, alpha=0.1, loss="binary_cross_entropy")
    logits = task.model(batch.inputs["image"])
    losses = task(batch).terms
    torch.testing.assert_close(losses["distillation"], 0.1 * imitate(logits, task.teacher(batch.inputs["image"])))
    everything = nn.functional.binary_cross_entropy_with_logits(logits, torch.ones(4, 3))
    torch.testing.assert_close(losses["binary_cross_entropy"], 0.9 * everything)


def test_in_evaluation_mode_the_one_answer_is_judged(batch):
    task = Distillation(student(), teacher()).eval()
    fused = task.model(batch.inputs["image"])
    torch.testing.assert_close(
        task(batch).terms["distillation"], 0.5 * hard_distillation(fused, task.teacher(batch.inputs["image"]))
    )
    torch.testing.assert_close(task.answer(batch).logits, fused)


def test_the_teacher_is_frozen_sees_the_same_pictures_and_never_trains(batch):
    theirs = teacher().train()
    task = Distillation(student(), theirs).train()
    sum(task(batch).terms.values()).backward()
    assert theirs.seen[0] is batch.inputs["image"]
    assert not any(module.training for module in theirs.modules())
    assert all(p.grad is None and not p.requires_grad for p in theirs.parameters())


def test_the_teacher_is_no_part_of_the_task():
    task = Distillation(student(), teacher())
    own = student().state_dict()
    assert list(task.state_dict()) == [f"model.{name}" for name in own]
    assert {id(p) for p in task.parameters()} == {id(p) for p in task.model.parameters()}
    trained = [name for group in parameter_groups(task, Optim()) for name in group["names"]]
    assert sorted(trained) == sorted(f"model.{name}" for name in own)
    average = Ema(task, 0.9).module
    assert average.teacher is task.teacher
    assert average.model is not task.model
    assert task.teacher not in set(copy.deepcopy(task).modules())


def test_the_teacher_moves_with_the_task(batch):
    task = Distillation(student(), teacher()).double()
    assert task.teacher.head.weight.dtype == task.teacher.scale.dtype == torch.float64
    image, soft = batch.inputs["image"].double(), batch.target["soft"].double()
    batch = Batch({"image": image}, batch.target | {"soft": soft})
    assert task(batch).terms["distillation"].isfinite()
    task.to("meta")
    assert task.teacher.head.weight.is_meta


def test_memory_for_a_student_of_the_meta_device_leaves_the_teachers_weights(batch):
    theirs = teacher()
    before = copy.deepcopy(theirs.state_dict())
    with torch.device("meta"):
        model = Classifier(Squares(), 3, DistilledReadout)
    task = Distillation(model, theirs).to_empty(device="cpu")
    task.model.initialise()
    torch.testing.assert_close(task.teacher.state_dict(), before)
    assert task(batch).terms["distillation"].isfinite()


def test_token_and_readout_must_fit():
    with pytest.raises(UserError, match=r"no distillation head \(its readout is a PooledReadout\)"):
        Distillation(plain(), teacher())
    with pytest.raises(UserError, match="would learn nothing"):
        Distillation(student(), teacher(), token=False)


def test_a_teacher_that_cannot_teach_is_refused(batch):
    with pytest.raises(UserError, match="the teacher knows 5 classes and the student 3"):
        Distillation(student(), teacher(5))(batch)
    with pytest.raises(UserError, match=r"the teacher gives a tensor of shape \(4, 3, 8, 8\); it must give logits"):
        Distillation(student(), nn.Identity())(batch)
    pair = Classifier(Squares(), 3, DistilledReadout)
    with pytest.raises(UserError, match=r"alpha is 1\.5"):
        Distillation(pair, teacher(), alpha=1.5)
    with pytest.raises(UserError, match="shares weights"):
        Distillation(pair, nn.Sequential(pair))


def test_the_teacher_is_shown_pictures_on_its_own_scale():
    pixels = torch.rand(2, 3, 4, 4)
    mean, std, own_mean, own_std = (torch.rand(3) + 0.1 for _ in range(4))

    def normalised(mean, std):
        return (pixels - mean[:, None, None]) / std[:, None, None]

    network = Renormalised(nn.Identity(), (mean.tolist(), std.tolist()), (own_mean.tolist(), own_std.tolist()))
    torch.testing.assert_close(network(normalised(mean, std)), normalised(own_mean, own_std))
