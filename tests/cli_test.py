"""The command line as users meet it: exit codes, one sentence for each mistake, and files that are left or not left."""

import csv
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from muntin.cli import main
from muntin.cli.main import EXAMPLES, VERBS

# a model that trains in a second: one epoch on small pictures, one block a stage
TINY = shlex.split(
    "--model.name swin_v2_tiny_window8 --model.patch 4 4 --model.dim 8 --model.depths 1 1 --model.heads 1 2 "
    "--model.window 4 4 --image-size 16 16 --epochs 1 --warmup-epochs 0 "
    "--training.batch-size 8 --threads 1 --training.workers 0"
)


def write_pictures(folder: Path, *colours: tuple[int, int, int], size: int = 16, count: int = 6) -> Path:
    """One class folder a colour: folder/class0/0.png, ..."""
    for k, colour in enumerate(colours):
        (folder / f"class{k}").mkdir(parents=True, exist_ok=True)
        for i in range(count):
            shade = tuple(max(0, c - 5 * i) for c in colour)
            Image.new("RGB", (size, size), shade).save(folder / f"class{k}" / f"{i}.png")
    return folder


RED, GREEN, BLUE = (220, 0, 0), (0, 220, 0), (0, 0, 220)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data") / "photos", RED, GREEN, count=12)


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory) -> Path:
    """The run folder of a tiny model trained on two colours."""
    out = tmp_path_factory.mktemp("runs") / "first"
    assert main(["train", "train", "--data", str(photos), "--out", str(out), *TINY]) == 0
    return out


@pytest.fixture
def fails(capsys):
    """Call with arguments: the command ends with `code` and one sentence on stderr, which is returned."""

    def call(*arguments: str, code: int = 2) -> str:
        capsys.readouterr()
        assert main([str(a) for a in arguments]) == code
        said = capsys.readouterr().err
        assert "Traceback" not in said
        last = said.strip().splitlines()[-1]
        assert last.startswith("muntin: ")
        return last

    return call


# ---- finding one's way


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_shows_verbs_and_examples(arguments, capsys):
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in VERBS)
    assert all(example in shown for example in EXAMPLES)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, capsys):
    assert main([verb, "--help"]) == 0
    assert "usage: muntin" in capsys.readouterr().out


def test_train_alone_lists_the_recipes(capsys):
    assert main(["train"]) == 0
    shown = capsys.readouterr().out
    for name in ("digits", "pretrain", "train", "finetune"):
        assert f"  {name} " in shown


def test_help_of_a_recipe_shows_fields_with_docs(capsys):
    assert main(["train", "digits", "--help"]) == 0
    shown = capsys.readouterr().out
    for words in ("--optim.lr FLOAT", "--schedule.epochs INT", "--data.val-share", "Share of the pictures held out"):
        assert words in shown


def test_dry_run_prints_the_resolved_recipe_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "digits", "--epochs", "7", "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out)["schedule"]["epochs"] == 7
    assert not list(tmp_path.iterdir())


def test_models_lists_sizes_and_published_accuracy(capsys):
    assert main(["models", "swin_tiny", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["parameters"] == 28_288_354
    assert row["multiply_adds"] == pytest.approx(4.49e9, rel=0.005)
    assert row["image_size"] == [224, 224]
    assert row["top1"] == 81.2


def test_doctor_finds_everything_or_says_what_to_install(capsys):
    assert main(["doctor", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {"python", "torch", "CPU", "GPU", "bundled digits", "self-check"} <= {f["what"] for f in answer["findings"]}
    assert answer["todo"] == []


# ---- the whole way


def test_train_evaluate_predict(trained, photos, tmp_path, capsys):
    for name in ("recipe.json", "metrics.jsonl", "summary.json", "report.html", "model/config.json"):
        assert (trained / name).is_file()
    capsys.readouterr()

    assert main(["eval", str(trained), "--data", str(photos), "--all", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["samples"] == 24
    assert sum(map(sum, result["confusion"])) == 24
    assert result["part"] == "all"
    assert "top5" not in result  # two classes: it would say nothing

    named, table = tmp_path / "named.jsonl", tmp_path / "named.csv"
    arguments = ["predict", str(trained), str(photos), "--json", str(named), "--csv", str(table)]
    assert main([*arguments, "--save", str(tmp_path / "drawn")]) == 0
    records = [json.loads(line) for line in named.read_text().splitlines()]
    assert len(records) == 24
    assert sum(t["score"] for t in records[0]["top"]) == pytest.approx(1, abs=1e-5)
    right = sum(Path(r["file"]).parent.name == r["label"] for r in records) / 24
    assert right == result["top1"]
    assert [row["file"] for row in csv.DictReader(table.open())] == [r["file"] for r in records]
    assert len(list((tmp_path / "drawn").glob("*.png"))) == 24


def test_predict_writes_json_lines_to_standard_output(trained, photos, capsys):
    capsys.readouterr()
    assert main(["predict", str(trained), f"{photos}/class0/*.png", "--json", "-", "--top", "1"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(r["file"]).name for r in records] == sorted(f"{i}.png" for i in range(12))
    assert all(len(r["top"]) == 1 for r in records)


def test_saving_never_writes_over_the_pictures(trained, tmp_path):
    place = write_pictures(tmp_path, RED, count=2) / "class0"
    before = (place / "0.png").read_bytes()
    assert main(["predict", str(trained), str(place), "--save", str(place), "--overwrite"]) == 0
    assert (place / "0.png").read_bytes() == before
    assert (place / "0_2.png").is_file()


def test_evaluation_of_two_processes_equals_one(trained, photos, capsys):
    capsys.readouterr()
    arguments = ["eval", str(trained), "--data", str(photos), "--all", "--json", "--batch-size", "5"]
    assert main(arguments) == 0
    one = json.loads(capsys.readouterr().out)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "muntin"]
    two = subprocess.run([*launch, *arguments], capture_output=True, text=True, timeout=300)
    assert two.returncode == 0, two.stderr
    assert json.loads(two.stdout) == one


def test_mistake_under_torchrun_is_said_once_and_again_in_its_table():
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "muntin"]
    ran = subprocess.run([*launch, "trian"], capture_output=True, text=True, timeout=300)
    sentence = "muntin: unknown verb 'trian': did you mean train? (muntin --help)"
    lines = ran.stderr.splitlines()
    assert lines.count(sentence) == 1
    assert [line.strip() for line in lines].count(f"traceback : {sentence}") == 1
    assert "exitcode  : 2" in ran.stderr


def test_evaluation_measures_what_the_run_held_out(photos, tmp_path, capsys):
    out, held_out = tmp_path / "run", ["--val-share", "0.5", "--split-seed", "3"]
    arguments = ["train", "train", "--data", str(photos), "--out", str(out), *TINY, *held_out, "--precision", "fp32"]
    assert main(arguments) == 0
    summary = json.loads((out / "summary.json").read_text())

    def measured(*arguments: str) -> dict:
        capsys.readouterr()
        assert main(["eval", *arguments, "--data", str(photos), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    result = measured(str(out))
    assert result["part"] == "held-out part (val_share 0.5, split seed 3)"
    assert (result["samples"], result["top1"]) == (12, summary["top1"])
    assert measured(str(out / "model")) == result
    assert measured(str(out / "model"), "--precision", "bf16")["samples"] == 12
    assert measured(str(out), "--val-share", "0.25")["part"] == "held-out part (val_share 0.25, split seed 3)"
    assert measured(str(out), "--split-seed", "4")["part"] == "held-out part (val_share 0.5, split seed 4)"
    assert measured(str(out), "--all")["samples"] == 24

    alone = shutil.copytree(out / "model", tmp_path / "alone")
    assert measured(str(alone))["part"] == "held-out part (val_share 0.1, split seed 0)"


def test_evaluation_prefers_the_validation_part_of_the_data(trained, tmp_path, capsys):
    write_pictures(tmp_path / "train", RED, GREEN)
    write_pictures(tmp_path / "val", RED, GREEN, count=2)
    capsys.readouterr()
    assert main(["eval", str(trained), "--data", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "on 4 pictures: the data's own validation part" in shown
    assert "top-5" not in shown


def test_evaluation_leaves_bad_pictures_out_up_to_a_share(trained, tmp_path, capsys, fails):
    write_pictures(tmp_path / "data", RED, GREEN, count=5)
    bad = min((tmp_path / "data").glob("*/*"))
    bad.write_bytes(b"")
    arguments = ["eval", str(trained), "--data", str(tmp_path / "data"), "--all"]
    assert main([*arguments, "--json", "--bad-share", "0.1"]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert (result["samples"], result["left_out"]) == (9, 1)
    assert f"{bad} is not a picture that can be read (it is empty, 0 bytes)" in said.err
    assert main([*arguments, "--bad-share", "0.1"]) == 0
    assert "on 9 pictures: all; 1 that cannot be read left out" in capsys.readouterr().out
    assert "1 of 10 pictures cannot be read" in fails(*arguments)


def test_pre_training_then_fine_tuning(photos, tmp_path):
    pretrained, finetuned = tmp_path / "pretrained", tmp_path / "finetuned"
    masks = ["--mask-patch", "8"]
    assert main(["train", "pretrain", "--data", str(photos), "--out", str(pretrained), *TINY, *masks]) == 0
    arguments = ["train", "finetune", "--data", str(photos), "--weights", str(pretrained), "--out", str(finetuned)]
    assert main([*arguments, *TINY]) == 0
    assert json.loads((finetuned / "model" / "config.json").read_text())["classes"] == ["class0", "class1"]


def test_saved_recipe_runs_again(trained, tmp_path):
    assert main(["train", str(trained / "recipe.json"), "--out", str(tmp_path / "again")]) == 0
    first, again = (json.loads((run / "recipe.json").read_text()) for run in (trained, tmp_path / "again"))
    assert again == first


@pytest.mark.slow
def test_examples_of_the_help_run_as_they_stand(tmp_path):
    for example in EXAMPLES:
        program, *arguments = shlex.split(example)
        subprocess.run([sys.executable, "-m", program, *arguments], cwd=tmp_path, check=True)


# ---- mistakes: exit code 2 and one sentence


def test_unknown_verb(fails):
    assert "did you mean train" in fails("trian")


def test_unknown_option(fails):
    assert "--data" in fails("eval", "runs/x", "--dta", "y")


def test_unknown_recipe(fails):
    assert "did you mean digits" in fails("train", "digit")


def test_unknown_field(fails):
    assert "--epochs" in fails("train", "digits", "--epoks", "3")


def test_value_of_the_wrong_type(fails):
    assert "epochs is 'many'; it must be a whole number" in fails("train", "digits", "--epochs", "many")


def test_unknown_model(fails, photos, tmp_path):
    said = fails("train", "train", "--data", photos, "--model", "swin_tinny", "--out", tmp_path / "run")
    assert "swin_tiny" in said
    assert not (tmp_path / "run").exists()


def test_no_folder(fails, tmp_path):
    assert "nowhere" in fails("train", "train", "--data", tmp_path / "nowhere", "--out", tmp_path / "run", *TINY)
    assert not (tmp_path / "run").exists()


def test_empty_folder(fails, tmp_path):
    (tmp_path / "data").mkdir()
    assert "empty" in fails("train", "train", "--data", tmp_path / "data", "--out", tmp_path / "run", *TINY)
    assert "empty" in fails("train", "pretrain", "--data", tmp_path / "data", "--out", tmp_path / "run", *TINY)
    assert not (tmp_path / "run").exists()


def test_pictures_without_class_folders(fails, tmp_path):
    place = write_pictures(tmp_path, RED) / "class0"
    assert "no class folders" in fails("train", "train", "--data", place, "--out", tmp_path / "run", *TINY)
    assert not (tmp_path / "run").exists()


def test_one_class(fails, tmp_path):
    place = write_pictures(tmp_path / "data", RED)
    assert "one class (class0)" in fails("train", "train", "--data", place, "--out", tmp_path / "run", *TINY)
    assert not (tmp_path / "run").exists()


def test_train_and_val_with_other_classes(fails, tmp_path):
    write_pictures(tmp_path / "data" / "train", RED, GREEN)
    write_pictures(tmp_path / "data" / "val", RED, GREEN, BLUE)
    said = fails("train", "train", "--data", tmp_path / "data", "--out", tmp_path / "run", *TINY)
    assert "missing from train: class2" in said
    assert not (tmp_path / "run").exists()


def test_training_file_that_is_no_picture(fails, tmp_path):
    place = write_pictures(tmp_path / "data", RED, GREEN)
    for file in place.rglob("*.png"):
        file.write_text("no picture")
    said = fails("train", "train", "--data", place, "--out", tmp_path / "run", *TINY)
    assert ".png is not a picture" in said


def test_no_readable_picture_to_predict(fails, trained, tmp_path):
    (tmp_path / "letter.txt").write_text("Dear reader")
    assert "not one of 1 file" in fails("predict", trained, tmp_path / "letter.txt")


def test_unreadable_picture_is_listed_and_the_others_are_named(trained, tmp_path, capsys):
    place = write_pictures(tmp_path, RED, count=2) / "class0"
    (place / "broken.png").write_bytes(b"no picture")
    capsys.readouterr()
    assert main(["predict", str(trained), str(place), "--json", "-"]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2
    assert "broken.png is not a picture" in shown.err


def test_nothing_to_predict(fails, trained, tmp_path):
    assert "no pictures in" in fails("predict", trained, tmp_path)
    assert "nowhere.jpg" in fails("predict", trained, tmp_path / "nowhere.jpg")


def test_no_model(fails, tmp_path, photos):
    assert "no model at" in fails("predict", tmp_path / "nowhere", photos)
    assert "holds no model.safetensors" in fails("predict", tmp_path, photos)


def test_places_for_predictions_are_checked_before_any_work(fails, photos, tmp_path):
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.touch()
    folder.mkdir()
    ask = ("predict", tmp_path / "no model", photos)  # which would be the next mistake to be found
    assert "--json writes a file, and" in fails(*ask, "--json", folder, "--overwrite")
    assert "--csv writes a file, and" in fails(*ask, "--csv", folder)
    assert "--save writes a folder, and" in fails(*ask, "--save", file, "--overwrite")
    assert f"{file} is a file" in fails(*ask, "--csv", file / "named.csv")
    assert "no model at" in fails(*ask, "--json", tmp_path / "new" / "named.jsonl")
    assert not (tmp_path / "new").exists()


def test_missing_folders_for_predictions_are_made(trained, photos, tmp_path):
    table, named = tmp_path / "a" / "b" / "named.csv", tmp_path / "c" / "named.jsonl"
    assert main(["predict", str(trained), str(photos), "--csv", str(table), "--json", str(named)]) == 0
    assert table.is_file()
    assert named.is_file()


def test_what_the_file_system_refuses_is_one_sentence(fails, trained, monkeypatch):
    assert "File name too long" in fails("predict", trained, "a" * 300)

    def refused(arguments):
        raise PermissionError(13, "Permission denied", "photos/secret")

    monkeypatch.setattr("muntin.cli.eval.run", refused)
    assert fails("eval") == "muntin: photos/secret: Permission denied"


def test_values_out_of_range(fails):
    for change in ("--betas 2 3", "--eps -1", "--lr nan", "--warmup-lr -1", "--training.seed -1", "--decay-rate inf"):
        field = change.split()[0].rpartition("-")[2].rpartition(".")[2]
        said = fails("train", "digits", *change.split(), "--dry-run")
        assert f"{field} is " in said
        assert "it must be " in said


def test_a_dry_run_refuses_what_the_run_would(fails):
    assert "unknown part 'backbon': did you mean backbone?" in fails(
        "train", "digits", "--lr-factors", "backbon", "0.1", "--dry-run"
    )
    warmup = ("--updates", "10", "--warmup-epochs", "10")
    assert "updates and the whole run 10" in fails("train", "digits", *warmup, "--dry-run")


def test_all_and_a_share_at_once(fails):
    assert "one of them" in fails("eval", "runs/x", "--data", "y", "--all", "--val-share", "0.5")


def test_class_count_of_weights_and_config(fails, trained, photos, tmp_path):
    copy = Path(shutil.copytree(trained / "model", tmp_path / "model"))
    config = json.loads((copy / "config.json").read_text())
    config["format"] = "muntin/1"  # the format without a checksum of its own
    config["classes"].append("class2")
    (copy / "config.json").write_text(json.dumps(config))
    assert "names 3 classes but says num_classes 2" in fails("predict", copy, photos)
    config["num_classes"] = 3
    (copy / "config.json").write_text(json.dumps(config))
    assert "was trained for 2 classes, the model has 3" in fails("predict", copy, photos)


def test_class_names_of_model_and_data(fails, trained, tmp_path):
    place = write_pictures(tmp_path, RED, GREEN, BLUE)
    said = fails("eval", trained, "--data", place)
    assert "classes of the model (2) and of the data (3) differ" in said
    assert "class2" in said


def test_picture_smaller_than_a_patch(fails, photos, tmp_path):
    said = fails("train", "train", "--data", photos, "--out", tmp_path / "run", *TINY, "--image-size", "2", "2")
    assert "patch" in said
    assert not (tmp_path / "run").exists()


def test_output_folder_that_exists(fails, trained, photos):
    before = sorted(trained.rglob("*"))
    assert "--overwrite" in fails("train", "train", "--data", photos, "--out", trained, *TINY)
    assert "--overwrite" in fails("demo", "--out", trained)
    assert "--overwrite" in fails("predict", trained, photos, "--save", photos)
    assert sorted(trained.rglob("*")) == before


def test_overwriting_spares_a_folder_that_is_no_run(fails, photos, tmp_path):
    precious = tmp_path / "letters"
    precious.mkdir()
    (precious / "letter.txt").write_text("Dear reader")
    fails("train", "train", "--data", photos, "--out", precious, "--overwrite", *TINY)
    fails("demo", "--out", precious, "--overwrite")
    assert (precious / "letter.txt").is_file()


def test_resume_without_a_checkpoint(fails, photos, tmp_path):
    said = fails("train", "train", "--data", photos, "--out", tmp_path / "run", "--resume", *TINY)
    assert "checkpoint" in said or "resume" in said
    assert not (tmp_path / "run").exists()


def test_resume_and_overwrite_at_once(fails):
    assert "one of them" in fails("train", "digits", "--resume", "--overwrite")


def test_loss_that_is_not_finite_stops_the_run_with_code_1(fails, photos, tmp_path):
    out = tmp_path / "run"
    arguments = ["train", "train", "--data", photos, "--out", out, *TINY, "--optim.lr", "1e30", "--epochs", "3"]
    said = fails(*arguments, code=1)
    assert "step" in said or "update" in said
    assert ".png" in said


# ---- our own faults


def test_debug_shows_the_traceback(capsys):
    assert main(["train", "digit", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_fault_of_ours_ends_with_code_1_and_one_sentence(monkeypatch, fails):
    import muntin.cli.models

    monkeypatch.setattr(muntin.cli.models, "run", lambda arguments: {}["missing"])
    assert "KeyError: 'missing'" in fails("models", code=1)


def test_interruption_ends_with_code_130(monkeypatch, fails):
    import muntin.cli.models

    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(muntin.cli.models, "run", interrupted)
    assert fails("models", code=130) == "muntin: interrupted"
