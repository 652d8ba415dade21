import builtins
import errno
import io
import json

import pytest
import torch
from rich.console import Console

from muntin.engine import log as log_module
from muntin.engine.environment import environment
from muntin.engine.log import FORMAT, Log, memory
from muntin.errors import RunError

CPU = torch.device("cpu")


def _log(out, **changes):
    return Log(out, **({"main": True, "epochs": 2, "updates": 8, "samples": 16, "device": CPU} | changes))


def _screen():
    return Console(file=io.StringIO(), force_terminal=True, width=160, highlight=False, markup=False)


def _one_epoch(log):
    for step in range(1, 5):
        log.progress(1, step, loss=2.0 - step / 10, lr=1e-3, waited=0.0)
    log.train(1, 4, {"loss": 1.75, "grad_norm": 3.0}, 1e-3, epoch_ended=True)
    log.val(1, 4, {"top1": 0.5})


def test_lines_are_json_with_epoch_step_and_split(tmp_path):
    with _log(tmp_path) as log:
        _one_epoch(log)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"], line["split"]) for line in lines] == [(1, 4, "train"), (1, 4, "val")]
    assert lines[0]["loss"] == 1.75
    assert lines[0]["samples_per_second"] > 0
    assert lines[1] == {"epoch": 1, "step": 4, "split": "val", "top1": 0.5}
    assert [line.get("format") for line in lines] == ["muntin-metrics/2", None]
    assert log.history == lines


def test_a_pipe_gets_plain_lines_with_everything_of_the_live_line(tmp_path, capsys):
    with _log(tmp_path) as log:
        _one_epoch(log)
    said = capsys.readouterr().out
    for part in (
        "epoch 1/2",
        "step 4/8",
        "loss 1.7500",
        "lr 1.00e-03",
        "samples/s",
        "waiting for data",
        "GiB",
        "ETA 0:",
    ):
        assert part in said
    assert "epoch 1/2 · val · top1 0.5" in said
    assert "\x1b" not in said
    assert "\r" not in said


def test_a_terminal_gets_one_live_line_and_a_line_an_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr(log_module, "DRAW_SECONDS", 0.0)
    screen = _screen()
    with _log(tmp_path, console=screen) as log:
        _one_epoch(log)
        log.train(2, 6, {"loss": 1.5}, 1e-3, epoch_ended=False)
        with log.pause("evaluating"):
            pass
    drawn = screen.file.getvalue()
    assert "step 2/8 · loss 1.8000" in drawn
    assert "evaluating" in drawn
    assert drawn.count("loss 1.7500") == 1
    assert "loss 1.5000" not in drawn


def test_the_live_line_is_drawn_now_and_then(tmp_path, monkeypatch):
    screen = _screen()
    monkeypatch.setattr(log_module, "DRAW_SECONDS", 3600.0)
    with _log(tmp_path, console=screen) as log:
        log._drawn = log_module.time.perf_counter()
        for step in range(1, 5):
            log.progress(1, step, 1.0, 1e-3, 0.0)
    assert "step 4/8" not in screen.file.getvalue()


def test_waiting_is_a_share_of_the_time_and_pauses_do_not_count(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(log_module.time, "perf_counter", lambda: now[0])
    with _log(tmp_path) as log:
        with log.pause("evaluating"):
            now[0] += 100
        log.progress(1, 1, 1.0, 1e-3, waited=0.5)
        now[0] += 2
        log.train(1, 1, {"loss": 1.0}, 1e-3, epoch_ended=True)
    assert log.history[0]["data_wait"] == pytest.approx(0.25)
    assert log.history[0]["samples_per_second"] == pytest.approx(8)


def test_resuming_drops_the_lines_that_will_be_written_again(tmp_path):
    lines = [{"epoch": 1, "step": step, "split": "train"} for step in (2, 4, 6)]
    lines[0]["format"] = FORMAT
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"epoch": 2, "st'
    (tmp_path / "metrics.jsonl").write_text(text)
    with _log(tmp_path, done=4) as log:
        pass
    assert log.history == lines[:2]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_an_evaluation_that_is_made_again_loses_its_old_line(tmp_path):
    lines = [{"epoch": 1, "step": 4, "split": split} for split in ("train", "val")]
    lines[0]["format"] = FORMAT
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with _log(tmp_path, done=4) as log:
        assert log.history == lines
    with _log(tmp_path, done=4, evaluated=False) as log:
        assert log.history == lines[:1]


def test_a_file_of_before_there_were_formats_is_resumed_under_todays_names(tmp_path):
    old = [{"epoch": 1, "step": step, "split": "train", "images_per_second": 9.0} for step in (2, 4)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in old))
    with _log(tmp_path, done=4):
        pass
    first, second = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert first == {"format": FORMAT, "epoch": 1, "step": 2, "split": "train", "samples_per_second": 9.0}
    assert second == {"epoch": 1, "step": 4, "split": "train", "samples_per_second": 9.0}


@pytest.mark.parametrize("harm", [b"\xff\xfe{", b"7\n", b"null\n[1]\n{}\n"])
def test_what_is_no_line_of_metrics_is_left_out_on_resuming(tmp_path, harm):
    line = {"format": FORMAT, "epoch": 1, "step": 2, "split": "train"}
    (tmp_path / "metrics.jsonl").write_bytes(json.dumps(line).encode() + b"\n" + harm)
    with _log(tmp_path, done=4) as log:
        assert log.history == [line]


def test_a_resumed_run_killed_while_it_rewrites_its_metrics_keeps_the_old_ones(tmp_path, monkeypatch):
    text = json.dumps({"epoch": 1, "step": 2, "split": "train"}) + "\n"
    (tmp_path / "metrics.jsonl").write_text(text)
    monkeypatch.setattr(log_module.Path, "write_text", lambda *given, **named: 1 / 0)
    with pytest.raises(ZeroDivisionError), _log(tmp_path, done=4):
        pass
    assert (tmp_path / "metrics.jsonl").read_text() == text


def test_a_disk_that_is_full_for_metrics_ends_the_run_with_a_sentence(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with _log(tmp_path) as log:
        monkeypatch.setattr(log_module.os, "fsync", full)
        with pytest.raises(RunError, match=r"metrics.jsonl could not be written to .*: No space left on device"):
            log.val(1, 4, {"top1": 0.5})


def test_other_processes_are_silent(tmp_path, capsys):
    with _log(tmp_path / "run", main=False) as log:
        _one_epoch(log)
    assert not (tmp_path / "run").exists()
    assert capsys.readouterr().out == ""
    assert len(log.history) == 2


def test_without_tensorboard_one_line_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    real = builtins.__import__

    def missing(name, *rest, **more):
        if name == "torch.utils.tensorboard":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    log_module._summary_writer.cache_clear()
    for run in ("a", "b"):
        with _log(tmp_path / run) as log:
            log.val(1, 1, {"top1": 0.5})
    log_module._summary_writer.cache_clear()
    assert capsys.readouterr().out.count('pip install "muntin[train]"') == 1
    assert not (tmp_path / "a" / "tensorboard").exists()


def test_tensorboard_has_the_curves(tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard"
    )
    with _log(tmp_path) as log:
        _one_epoch(log)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("val/top1")] == [(4, 0.5)]
    assert "train/loss" in events.Tags()["scalars"]


def test_memory_is_that_of_this_process():
    assert 2**20 < memory(CPU) < 2**40


def test_the_environment_is_json_without_names_of_places():
    text = json.dumps(environment())
    assert torch.__version__ in text
    assert str(io.__file__).rsplit("/", 2)[0] not in text
