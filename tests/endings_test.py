"""The ways in which a run can end before its time: one sentence, soon, with the right code, and it can be resumed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from muntin.engine import checkpoint
from muntin.recipes import get, to_json
from muntin.runs import tiny
from muntin.runs.lock import locked

SABOTAGE = Path(__file__).with_name("sabotage.py")


def recipe():
    twin = tiny(get("digits"))
    return replace(twin, training=replace(twin.training, batch_size=10, save_steps=2, ema=0.9))


Train = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def train(processes) -> Train:
    """`muntin train` with something happening to it; exit code, and what it said on stderr. It has to end soon."""

    def run(folder: Path, what: str, *options: str, given=None) -> tuple[int, str]:
        (folder / "recipe.json").write_text(to_json(given or recipe()))
        [ended] = processes([SABOTAGE, what, folder / "recipe.json", "--out", folder / "run", *options])
        return ended.code, ended.errors

    return run


def assert_one_sentence(said: str) -> None:
    assert "Traceback" not in said
    assert said.count("muntin: ") == 1, said


def newest(folder: Path) -> Path:
    found = checkpoint.latest(folder / "run" / "checkpoints")
    assert found
    return found


@pytest.fixture(scope="module")
def whole(train, tmp_path_factory) -> bytes:
    """State of the run at its end, when nothing happens to it."""
    folder = tmp_path_factory.mktemp("whole")
    assert train(folder, "nothing", "--workers", "0")[0] == 0
    return (newest(folder) / "state.safetensors").read_bytes()


def assert_resumes_to(train: Train, whole: bytes, folder: Path, *options: str) -> None:
    code, said = train(folder, "nothing", "--resume", *options)
    assert code == 0, said
    assert (newest(folder) / "state.safetensors").read_bytes() == whole


@pytest.fixture(scope="module")
def killed(train, tmp_path_factory) -> tuple[Path, int, str]:
    """Folder, exit code and words of a run one of whose workers was killed."""
    folder = tmp_path_factory.mktemp("killed")
    return folder, *train(folder, "kill_a_worker", "--workers", "2")


def test_a_killed_worker_ends_the_run_with_a_sentence(killed):
    folder, code, said = killed
    assert code == 1
    assert_one_sentence(said)
    assert "a data worker process was lost" in said
    assert newest(folder).name >= "step_00000002"  # batches that were read ahead may have served for more


def test_the_checkpoint_of_a_killed_run_holds_a_model_that_loads(killed):
    saved = newest(killed[0])
    state, exported = (load_file(saved / name) for name in ("state.safetensors", "model/model.safetensors"))
    averages = {name.removeprefix("ema/model."): state[name] for name in state if name.startswith("ema/")}
    assert averages.keys() == exported.keys()
    assert all(bool((averages[name] == exported[name]).all()) for name in exported)


def test_a_folder_where_a_run_is_at_work_is_refused_and_left_alone(train, killed):
    run = killed[0] / "run"
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with locked(run):
        code, said = train(killed[0], "nothing", "--overwrite")
    assert (code, "another run is at work in" in said) == (2, True), said
    assert_one_sentence(said)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("what", ["terminate_all", "interrupt_all"])
def test_a_signal_to_all_processes_of_a_run_saves_it(what, train, whole, tmp_path):
    code, said = train(tmp_path, what, "--workers", "2", "--save-steps", "0")
    assert code == 130, said
    assert_one_sentence(said)
    step = int(newest(tmp_path).name[-2:])
    assert step in (3, 4)
    assert f"interrupted after step {step}, saved in" in said
    if what == "terminate_all":
        assert_resumes_to(train, whole, tmp_path, "--workers", "1")


@pytest.mark.parametrize("what", ["fill_the_disk", "limit_file_size"])
def test_a_full_disk_ends_the_run_with_a_sentence_and_keeps_what_was_saved(what, train, whole, tmp_path):
    code, said = train(tmp_path, what, "--workers", "0")
    assert code == 1
    assert_one_sentence(said)
    assert "the checkpoint of step 4 could not be written to" in said
    assert ("No space left on device" if what == "fill_the_disk" else "File too large") in said
    assert "free there" in said
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step_00000002"]
    if what == "fill_the_disk":
        assert_resumes_to(train, whole, tmp_path, "--workers", "0")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc to know how much memory is in use")
def test_running_out_of_memory_ends_the_run_with_a_sentence(train, tmp_path):
    big = recipe()
    big = replace(
        big,
        inputs=replace(big.inputs, image_size=(256, 256)),
        training=replace(big.training, save_steps=0),
    )
    code, said = train(tmp_path, "limit_memory", "--workers", "0", given=big)
    assert code == 1, said
    assert_one_sentence(said)
    assert "out of memory on cpu while training, after step 0: parameters 0." in said
    assert "activations of image 10 x 1 x 256 x 256" in said
    assert "--accumulate 2" in said
