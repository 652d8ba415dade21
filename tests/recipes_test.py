"""Every recipe's tiny twin runs, and a run folder can be resumed, run again and fine-tuned from."""

import json
import os
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from muntin.catalog import build_config, entry
from muntin.cli.main import main
from muntin.errors import UserError
from muntin.ops.fast.choice import Choice, in_use, use
from muntin.recipes import RECIPES, About, get, read_recipe
from muntin.runs import check, run, tiny
from muntin.runs.build import build
from muntin.runs.demo import run_demo, tell
from muntin.runs.lock import locked
from muntin.weights.folder import load_model, read_config

RUN_FOLDER = {"recipe.json", "environment.json", "metrics.jsonl", "checkpoints", "model", "report.html", "summary.json"}


def twin(name: str):
    return tiny(get(name))


def epochs(recipe, count: int):
    return replace(recipe, schedule=replace(recipe.schedule, epochs=count))


def losses(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["split"] == "train"]


def path_through_the_code(recipe) -> str:
    """What decides which code a recipe runs: the choices in it and in its model's config, and which of their numbers
    are neither 0 nor 1 (often: off). Twins of which all that is equal differ in numbers, such as a variant's width.
    """
    family = entry(recipe.model.name).family
    config = build_config(recipe.model.name, recipe.model.config)
    recipe = replace(
        recipe, name="", about=About(), model=replace(recipe.model, name=family.backbone.__name__, config={})
    )

    def choices(value):
        if isinstance(value, dict):
            return {key: choices(each) for key, each in value.items()}
        if isinstance(value, (tuple, list)):
            return [choices(each) for each in value]
        return value if value is None or isinstance(value, (bool, str)) or value in (0, 1) else "a number"

    return json.dumps(choices([asdict(recipe), asdict(config)]))


TWINS = list({path_through_the_code(twin(name)): name for name in reversed(RECIPES)}.values())[::-1]


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in TWINS])
def test_twin_that_differs_in_numbers_alone_could_start(name):
    assert check(twin(name)) == twin(name)


@pytest.mark.parametrize("name", TWINS)
def test_twin_trains_and_leaves_a_whole_run_folder(name, tmp_path):
    out = tmp_path / "run"
    summary = run(twin(name), out, quiet=True)
    assert {p.name for p in out.iterdir()} >= RUN_FOLDER
    assert json.loads((out / "summary.json").read_text()) == summary
    assert read_recipe(out) == twin(name)
    assert len(losses(out)) == 2
    assert all(loss > 0 for loss in losses(out))
    if summary["task"] != "simmim":
        assert 0 <= summary["top1"] <= summary["top5"] <= 1
        assert load_model(out).classes == tuple("0123456789")
    else:
        assert read_config(out)["kind"] == "simmim"


def test_saved_recipe_runs_again_to_the_same_losses(tmp_path):
    run(twin("digits"), tmp_path / "first", quiet=True)
    run(read_recipe(tmp_path / "first"), tmp_path / "second", quiet=True)
    assert losses(tmp_path / "first") == losses(tmp_path / "second")


def test_interrupted_run_resumes_to_the_same_model(tmp_path, monkeypatch):
    recipe = epochs(twin("digits"), 3)
    run(recipe, tmp_path / "whole", quiet=True)
    stop_after_epoch(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "parts", quiet=True)
    monkeypatch.undo()
    run(recipe, tmp_path / "parts", resume=True, quiet=True)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    whole, parts = (load_model(tmp_path / name).model.state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_a_resumed_run_uses_tuned_code_where_it_did_before(tmp_path, monkeypatch):
    out, recipe = tmp_path / "run", epochs(twin("digits"), 2)
    stop_after_epoch(monkeypatch, 1)
    with use(Choice("that of another processor", frozenset())), pytest.raises(KeyboardInterrupt):
        run(recipe, out, quiet=True)
    monkeypatch.undo()
    used = []
    module = sys.modules[run.__module__]
    monkeypatch.setattr(module, "fit", lambda *_, **__: used.append(in_use()) or sys.exit())
    with pytest.raises(SystemExit):
        run(recipe, out, resume=True, quiet=True)
    assert used == [Choice("that of another processor", frozenset())]


def stop_after_epoch(monkeypatch, count: int) -> None:
    """Make evaluation number `count` + 1 end the run, as a lost machine would."""
    seen = []

    def measure(task, val):
        seen.append(1)
        if len(seen) > count:
            raise KeyboardInterrupt
        return {"top1": 0.1, "top5": 0.5}

    monkeypatch.setattr(sys.modules[run.__module__], "measure", measure)


@pytest.mark.parametrize("simmim", ["digits_simmim", "simmim_swin_base_100ep"])
def test_fine_tuning_takes_the_encoder_of_a_pre_training_run(simmim, tmp_path, capsys):
    pretraining = twin(simmim)
    run(pretraining, tmp_path / "pretrained", quiet=True)
    recipe = twin("finetune")
    recipe = replace(
        recipe,
        inputs=pretraining.inputs,
        model=replace(recipe.model, name="", weights=str(tmp_path / "pretrained")),
    )
    summary = run(recipe, tmp_path / "finetuned")
    assert summary["model"] == pretraining.model.name
    said = capsys.readouterr().out
    assert "3 dropped (used by pre-training alone)" in said
    assert "2 reinitialised (a fresh head of 10 classes)" in said


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("vit_base_patch16_21k", "vit_base_patch16_21k_finetune_384"),
        ("deit_base_distilled", "deit_base_distilled_finetune_384"),
        ("deit3_base", "deit3_base_finetune"),
        ("convnext_base_22k", "convnext_base_22k_finetune_384"),
        ("cvt_13", "cvt_13_finetune_384"),
        ("simmim_vit_base_800ep", "simmim_finetune_vit_base_800ep"),
    ],
)
def test_weights_of_one_recipe_start_the_next_on_larger_pictures_of_other_classes(first, second, tmp_path):
    assert f"a run of {first}" in get(second).about.starts_from
    run(epochs(twin(first), 1), tmp_path / "first", quiet=True)
    count = 150 if get(second).augment.repeats > 1 else 8  # where pictures are repeated, a block of 256
    recipe = on_folder(epochs(twin(second), 1), make_folder(tmp_path / "data", ("cat", "dog"), count))
    recipe = replace(
        recipe,
        model=replace(recipe.model, weights=str(tmp_path / "first")),
        inputs=replace(recipe.inputs, image_size=(48, 48)),
    )
    run(recipe, tmp_path / "second", quiet=True)
    assert load_model(tmp_path / "second").classes == ("cat", "dog")


def make_folder(root: Path, classes: tuple[str, ...], count: int = 8) -> Path:
    for shade, name in enumerate(classes):
        for i in range(count):
            (root / name).mkdir(parents=True, exist_ok=True)
            Image.new("L", (30, 30), 40 * shade + i).save(root / name / f"{i}.png")
    return root


def on_folder(recipe, root: Path):
    return replace(
        recipe,
        data=replace(recipe.data, path=str(root), limit=0),
        training=replace(recipe.training, batch_size=4),
    )


def test_own_folder_trains_and_other_classes_get_a_new_head(tmp_path, capsys):
    first = on_folder(twin("digits"), make_folder(tmp_path / "two", ("cat", "dog")))
    summary = run(first, tmp_path / "first", quiet=True)
    assert "top5" not in summary  # of two classes it would say nothing
    other = on_folder(twin("digits_finetune"), make_folder(tmp_path / "three", ("ant", "bee", "fly")))
    other = replace(other, model=replace(other.model, weights=str(tmp_path / "first")))
    run(other, tmp_path / "second")
    said = capsys.readouterr().out
    assert "2 dropped (the model has 3 classes), 2 reinitialised (a fresh head of 3 classes)" in said
    assert load_model(tmp_path / "second").classes == ("ant", "bee", "fly")


def test_file_that_is_no_picture_ends_the_start_without_a_folder(tmp_path):
    root = make_folder(tmp_path / "data", ("cat", "dog"))
    for name in ("0.png", "1.png", "2.png", "3.png", "4.png", "5.png", "6.png"):
        (root / "cat" / name).write_text("no picture")
    with pytest.raises(UserError, match=r"cat.*is not a picture"):
        run(on_folder(twin("digits"), root), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_too_many_bad_pictures_after_a_checkpoint_keep_it_and_the_list(tmp_path):
    root = make_folder(tmp_path / "data", ("cat", "dog"))
    recipe = on_folder(twin("digits"), root)
    recipe = replace(recipe, training=replace(recipe.training, batch_size=2, save_steps=1))
    first = next(build(recipe, torch.device("cpu")).train.epoch(0, 3))
    for name in first.names:
        (root / name).write_text("no picture")
    out = tmp_path / "run"
    with pytest.raises(UserError, match="more than the share"):
        run(recipe, out, quiet=True)
    assert (out / "checkpoints" / "step_00000003").is_dir()
    assert len((out / "bad_files.txt").read_text().splitlines()) == 1


def test_sigterm_at_the_start_over_a_finished_run_leaves_it_as_it_was(tmp_path, monkeypatch):
    recipe, out = twin("digits"), tmp_path / "run"
    run(recipe, out, quiet=True)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    monkeypatch.setattr(sys.modules[run.__module__], "fit", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(KeyboardInterrupt):
        run(recipe, out, overwrite=True, quiet=True)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_failed_start_over_a_finished_run_leaves_it_as_it_was(tmp_path):
    out, root = tmp_path / "run", make_folder(tmp_path / "data", ("cat", "dog"))
    recipe = on_folder(twin("digits"), root)
    run(recipe, out, quiet=True)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    (root / "dog" / "6.png").write_text("no picture")
    (root / "dog" / "0.png").write_text("no picture")
    with pytest.raises(UserError, match="is not a picture"):
        run(replace(recipe, training=replace(recipe.training, batch_size=2)), out, overwrite=True, quiet=True)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "run"]


def test_pictures_of_other_channels_than_the_weights_are_refused_before_anything_is_written(tmp_path):
    run(twin("digits"), tmp_path / "grey", quiet=True)
    recipe = twin("swin_tiny")
    recipe = replace(recipe, inputs=replace(recipe.inputs, mean=(0.1,) * 3))
    recipe = replace(recipe, model=replace(recipe.model, weights=str(tmp_path / "grey")))
    with pytest.raises(UserError, match=r"1 channel\(s\)"):
        run(recipe, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_check_resolves_and_tries_without_writing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert check(twin("digits")) == twin("digits")
    with pytest.raises(UserError, match="no data at nowhere"):
        check(replace(twin("digits"), data=replace(twin("digits").data, path="nowhere")))
    assert not list(tmp_path.iterdir())


def test_next_command_after_pre_training_on_digits_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run(twin("digits_simmim"), Path("pretrained"))
    arguments = capsys.readouterr().out.rpartition("next: muntin ")[2].split()
    few = ["--epochs", "1", "--limit", "20", "--batch-size", "10", "--workers", "0", "--warmup-epochs", "0"]
    assert main([*arguments, *few, "--out", "tuned"]) == 0
    assert load_model("tuned").preprocess["mean"] == list(get("digits").inputs.mean)


def test_weights_and_from_scratch_contradict_each_other(capsys):
    assert main(["train", "finetune", "--data", "digits", "--weights", "x", "--from-scratch"]) == 2
    assert "give one of them" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: replace(r, data=replace(r.data, path="nowhere")), "no data at nowhere"),
        (lambda r: replace(r, model=replace(r.model, name="swin_v2_tinny")), "unknown model"),
        (lambda r: replace(r, model=replace(r.model, weights="nowhere")), "nowhere"),
        (lambda r: replace(r, inputs=replace(r.inputs, image_size=(3, 3))), "smaller than one patch"),
        (lambda r: replace(r, training=replace(r.training, batch_size=64)), "do not fill one batch"),
    ],
)
def test_start_that_fails_leaves_no_folder(change, message, tmp_path):
    with pytest.raises(UserError, match=message):
        run(change(twin("digits")), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_mixing_pictures_without_labels_is_refused(tmp_path):
    recipe = twin("digits_simmim")
    with pytest.raises(UserError, match="need labels"):
        run(replace(recipe, augment=replace(recipe.augment, mixup=0.8)), tmp_path / "run", quiet=True)


def test_simmim_refuses_pictures_its_decoder_cannot_paint(tmp_path):
    recipe = twin("digits_simmim")
    recipe = replace(
        recipe,
        inputs=replace(recipe.inputs, image_size=(36, 36)),
        task=replace(recipe.task, mask_patch=4),
    )
    with pytest.raises(UserError, match="multiples of 8"):
        run(recipe, tmp_path / "run", quiet=True)


def test_demo_is_refused_where_another_is_at_work(tmp_path):
    with locked(tmp_path / "demo"), pytest.raises(UserError, match="is at work in"):
        run_demo(tmp_path / "demo", overwrite=True, quiet=True)


def test_demo_tells_the_whole_story(tmp_path):
    summary = tell(twin("digits_simmim"), twin("digits_finetune"), tmp_path / "demo")
    saved = json.loads((tmp_path / "demo" / "summary.json").read_text())
    assert saved == summary
    for key in ("top1", "top5", "top1_few_labels_pretrained", "top1_few_labels_scratch"):
        assert 0 <= summary[key] <= 1
    for moved in ("v2_log_cpb", "v1_bicubic"):
        assert set(summary["transfer"][moved]) == {"trained", "without", "with"}
    assert set(summary["seconds"]) == {"pretrain", "few_labels", "finetune", "v1", "transfer", "total"}
    assert load_model(tmp_path / "demo").classes == tuple("0123456789")
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "log-CPB" in page
    assert "bicubic" in page
