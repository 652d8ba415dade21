"""A distillation by recipe: who may teach whom, and what a run leaves."""

import json
from dataclasses import replace

import pytest
import torch

from muntin.data import Augment, Batch
from muntin.errors import UserError
from muntin.recipes import ModelChoice, Recipe, get
from muntin.runs import run
from muntin.runs.build import build
from muntin.runs.resolve import resolve
from muntin.tasks import ClassificationChoice, Distillation, Renormalised
from muntin.weights.folder import load_model, save_model

CPU = torch.device("cpu")


def small(recipe: Recipe, **choice) -> Recipe:
    """A recipe of the digits for a few steps."""
    fields = {"patch": (4, 4), "dim": 16, "depth": 1, "heads": 2}
    if recipe.model.name.startswith("convnext"):
        fields = {"dims": (8, 16), "depths": (1, 1)}
    return replace(
        recipe,
        model=replace(recipe.model, config=fields),
        data=replace(recipe.data, limit=60),
        augment=Augment(smoothing=0.1),
        schedule=replace(recipe.schedule, epochs=1, warmup_epochs=0),
        training=replace(recipe.training, batch_size=30),
        task=replace(recipe.task, **choice),
    )


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A run of a teacher, and its weights as a bare file elsewhere."""
    out = tmp_path_factory.mktemp("runs") / "teacher"
    run(small(get("digits_teacher")), out, quiet=True)
    return out


def edited(teacher, folder, classes=None, **preprocess):
    """The teacher's model with other class names or another preprocessing."""
    saved = load_model(teacher)
    save_model(
        folder,
        saved.name,
        saved.model,
        kind="classifier",
        classes=classes or saved.classes,
        inputs=saved.preprocess | preprocess,
    )
    return folder


def test_a_run_with_a_teacher_measures_both_heads_and_leaves_the_teacher_out(teacher, tmp_path):
    out = tmp_path / "run"
    summary = run(small(get("digits_distil"), teacher_weights=str(teacher)), out, quiet=True)
    assert {"top1", "class_head_top1", "distillation_head_top1", "heads_disagree"} <= summary.keys()
    first = json.loads((out / "metrics.jsonl").read_text().splitlines()[0])
    assert first["loss"] == pytest.approx(first["cross_entropy"] + first["distillation"])
    student = load_model(out)
    assert (student.name, student.model.num_classes) == ("deit_tiny_distilled", 10)
    assert summary["parameters"] == sum(p.numel() for p in student.model.parameters())
    assert (out / "report.html").is_file()
    assert run(small(get("digits_distil"), teacher_weights=str(teacher)), out, quiet=True, resume=True) is not None


def test_a_distilled_model_is_fine_tuned_larger_with_its_teacher(teacher, tmp_path):
    recipe = small(get("digits_distil"), teacher_weights=str(teacher))
    run(recipe, tmp_path / "run", quiet=True)
    larger = replace(
        recipe,
        model=ModelChoice(weights=str(tmp_path / "run")),
        inputs=replace(recipe.inputs, image_size=(36, 36)),
    )
    summary = run(larger, tmp_path / "larger", quiet=True)
    assert summary["train_loss"] > 0
    assert load_model(tmp_path / "larger").model.backbone.config.grid == (9, 9)
    seen = []
    parts = build(resolve(larger), CPU)
    parts.task.teacher.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[-2:]))
    parts.task(next(iter(parts.train.epoch(0))))
    assert seen == [(36, 36)]


def test_kind_alpha_and_temperature_reach_the_loss(teacher):
    recipe = small(get("digits_distil"), teacher_weights=str(teacher), imitate="soft", temperature=3.0, alpha=0.25)
    task = build(recipe, CPU).task.train()
    textbook = replace(recipe, task=replace(recipe.task, normalisation="textbook"))
    other = build(textbook, CPU).task.train()
    batch = Batch({"image": torch.randn(4, 1, 24, 24)}, {"label": torch.arange(4)})
    official, usual = task(batch).terms["distillation"], other(batch).terms["distillation"]
    torch.testing.assert_close(10 * official, usual)  # ten classes
    assert isinstance(task, Distillation)
    _, by_token = task.model(batch.inputs["image"])
    ours, theirs = (each.div(3).log_softmax(1) for each in (by_token, task.teacher(batch.inputs["image"])))
    torch.testing.assert_close(usual, 0.25 * 9 * (theirs.exp() * (theirs - ours)).sum(1).mean())


def test_a_teacher_of_another_normalisation_sees_pictures_on_its_own_scale(teacher, tmp_path):
    other = edited(teacher, tmp_path / "other", mean=[0.5], std=[0.25])
    network = build(small(get("digits_distil"), teacher_weights=str(other)), CPU).task.teacher
    assert isinstance(network, Renormalised)
    pixels = torch.rand(1, 1, 24, 24)
    mean, std = get("digits_distil").inputs.mean[0], get("digits_distil").inputs.std[0]
    torch.testing.assert_close(network((pixels - mean) / std), load_model(other).model((pixels - 0.5) / 0.25))


def test_a_bare_file_needs_the_name_of_its_model(teacher, tmp_path):
    file = tmp_path / "bare.safetensors"
    file.write_bytes((teacher / "model" / "model.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"name the model of the weights with --teacher NAME"):
        build(small(get("digits_distil"), teacher_weights=str(file)), CPU)
    with pytest.raises(UserError, match=r"cannot load the teacher for 10 classes: .*bare\.safetensors"):
        build(small(get("digits_distil"), teacher_weights=str(file), teacher="deit_tiny"), CPU)
    with pytest.raises(UserError, match=r"cannot load the teacher for 10 classes: there is no model at .*gone"):
        build(small(get("digits_distil"), teacher_weights=str(tmp_path / "gone")), CPU)


def test_an_untrained_teacher_must_be_wanted():
    with pytest.raises(UserError, match="learns from a teacher: give --teacher-weights"):
        build(small(get("digits_distil")), CPU)
    with pytest.raises(UserError, match="needs a name: --teacher"):
        build(small(get("digits_distil"), untrained_teacher=True), CPU)
    recipe = small(get("digits_distil"), untrained_teacher=True, teacher="convnext_tiny")
    first, second = (build(recipe, CPU).task.teacher.state_dict() for _ in range(2))
    torch.testing.assert_close(first, second)  # every process must have the same


def test_a_teacher_of_other_classes_or_channels_is_refused(teacher, tmp_path):
    digits = tuple("0123456789")
    wrong = {
        "another order: '1' is where the data has '0'": {"classes": ("1", "0", *digits[2:])},
        r"takes 3 channel\(s\) and the student gets 1": {"mean": [0.5] * 3, "std": [0.5] * 3},
    }
    for message, change in wrong.items():
        other = edited(teacher, tmp_path / message[:7], **change)
        with pytest.raises(UserError, match=message):
            build(small(get("digits_distil"), teacher_weights=str(other)), CPU)
    with pytest.raises(UserError, match="holds a convnext_tiny and not a deit_tiny"):
        build(small(get("digits_distil"), teacher_weights=str(teacher), teacher="deit_tiny"), CPU)


def test_token_and_model_must_fit(teacher):
    recipe = small(get("digits_distil"), teacher_weights=str(teacher))
    plain = replace(recipe, model=replace(recipe.model, name="deit_tiny"))
    with pytest.raises(UserError, match="the student has no distillation head"):
        build(plain, CPU)
    with pytest.raises(UserError, match="would learn nothing"):
        build(replace(recipe, task=replace(recipe.task, token=False)), CPU)
    assert isinstance(build(replace(plain, task=replace(plain.task, token=False)), CPU).task, Distillation)


def test_a_fresh_head_is_scaled():
    recipe = small(get("digits_distil"))
    recipe = replace(recipe, task=ClassificationChoice(), model=replace(recipe.model, head_scale=0.0))
    readout = build(recipe, CPU).task.model.readout
    assert not any(head.weight.any() for head in readout.heads())
    recipe = replace(recipe, model=replace(recipe.model, head_scale=0.5))
    assert 0.005 < build(recipe, CPU).task.model.readout.head.weight.std() < 0.015


def test_binary_cross_entropy_is_chosen_by_the_recipe():
    recipe = replace(get("digits"), augment=Augment(), task=ClassificationChoice(loss="binary_cross_entropy"))
    parts = build(recipe, CPU)
    assert list(parts.task(next(iter(parts.train.epoch(0)))).terms) == ["binary_cross_entropy"]
