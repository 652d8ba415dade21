import errno
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from muntin.engine import Optim, Schedule, Training, checkpoint, fit
from muntin.errors import RunError, UserError

SHARED = {"batch_size": 8, "accumulate": 2, "ema": 0.5, "keep_last": 9}
SPEED = ("images_per_second", "data_wait", "memory_gib")


class Toy(nn.Module):
    """Blocks with dropout, a batch norm (an integer buffer) and a head, to one of three classes."""

    def __init__(self, dropout=0.0, norm=False):
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), nn.GELU(), nn.Dropout(dropout)) for _ in range(2))
        self.norm = nn.BatchNorm1d(6) if norm else nn.Identity()
        self.head = nn.Linear(6, 3)

    def forward(self, batch):
        return self.losses(batch)

    def losses(self, batch):
        return {"cross_entropy": nn.functional.cross_entropy(self.logits(batch["image"]), batch["label"])}

    def logits(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))

    def layers(self):
        return [[block] for block in self.blocks]


class Toys:
    """24 rows in an order drawn for each epoch; the processes share what one would take as a batch."""

    def __init__(self, batch_size=4, rank=0, world=1, count=24):
        self.batch_size, self.rank, self.world = batch_size, rank, world
        self.rows = torch.randn(count, 6, generator=torch.Generator().manual_seed(1))
        self.labels = (self.rows.sum(1) > 0).long() + (self.rows[:, 0] > 1).long()
        self.before_batch = lambda epoch, number: None

    def __len__(self):
        return len(self.rows) // (self.batch_size * self.world)

    def epoch(self, epoch, start=0):
        order = torch.randperm(len(self.rows), generator=torch.Generator().manual_seed(epoch))
        for number in range(start, len(self)):
            self.before_batch(epoch, number)
            first = (number * self.world + self.rank) * self.batch_size
            chosen = order[first : first + self.batch_size]
            yield {"image": self.rows[chosen], "label": self.labels[chosen], "name": [f"row{i}.png" for i in chosen]}


def _evaluate(task):
    rows = Toys()
    right = task.logits(rows.rows).float().argmax(1) == rows.labels
    return {"top1": right.float().mean().item()}


def _fit(out, task=None, train=None, **changes):
    training = {"batch_size": 4, "precision": "fp32", "threads": 1} | changes.pop("training", {})
    schedule = {"epochs": 3, "warmup_epochs": 1, "warmup_lr": 1e-4, "min_lr": 1e-4} | changes.pop("schedule", {})
    optim = {"lr": 1e-2} | changes.pop("optim", {})
    return fit(
        Toy() if task is None else task,
        Toys(training["batch_size"] // training.get("accumulate", 1)) if train is None else train,
        optim=Optim(**optim),
        schedule=Schedule(**schedule),
        training=Training(**training),
        out=out,
        **changes,
    )


def _without_speed(lines):
    return [{k: v for k, v in line.items() if k not in SPEED} for line in lines]


def _assert_equal_states(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


def test_training_lowers_the_loss_and_writes_down_how(tmp_path):
    result = _fit(tmp_path, evaluate=_evaluate, schedule={"epochs": 20})
    train = [line for line in result.history if line["split"] == "train"]
    assert [line["epoch"] for line in train] == list(range(1, 21))
    assert train[-1]["step"] == 120
    assert train[-1]["loss"] < 0.5 * train[0]["loss"]
    assert result.metrics == _evaluate(result.task)
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == result.history
    assert not result.task.training


def test_the_loop_equals_one_written_by_hand(tmp_path):
    result = _fit(tmp_path, optim={"clip_grad": 0.3, "layer_decay": 0.5})
    task = Toy()
    groups = [
        ([*task.blocks[0].parameters()], 0.25),
        ([*task.blocks[1].parameters()], 0.5),
        ([*task.head.parameters()], 1),
    ]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p], "scale": scale, "weight_decay": 0.05 if p.ndim > 1 else 0.0}
            for parameters, scale in groups
            for p in parameters
        ],
        fused=True,
    )
    schedule, update = Schedule(epochs=3, warmup_epochs=1, warmup_lr=1e-4, min_lr=1e-4), 0
    for epoch in range(3):
        for batch in Toys().epoch(epoch):
            for group in optimizer.param_groups:
                group["lr"] = schedule.lr(update, 1e-2 * group["scale"], 6)
            task.losses(batch)["cross_entropy"].backward()
            nn.utils.clip_grad_norm_(task.parameters(), 0.3)
            optimizer.step()
            optimizer.zero_grad()
            update += 1
    for name, ours in result.task.state_dict().items():
        torch.testing.assert_close(ours, task.state_dict()[name], rtol=1e-5, atol=1e-6)


def test_accumulation_gives_the_same_weights_as_whole_batches(tmp_path):
    whole, parts = (_fit(tmp_path / str(n), training={"batch_size": 8, "accumulate": n}) for n in (1, 4))
    for name, tensor in whole.task.state_dict().items():
        torch.testing.assert_close(tensor, parts.task.state_dict()[name], rtol=1e-5, atol=1e-6)
    assert parts.history[-1]["loss"] == pytest.approx(whole.history[-1]["loss"], rel=1e-5)


@pytest.mark.parametrize("stopped_at", [(0, 2), (1, 3), (1, 11)])
def test_a_resumed_run_equals_one_that_never_stopped(tmp_path, stopped_at):
    def run(out, train, **more):
        settings = {"batch_size": 4, "accumulate": 2, "ema": 0.9, "log_every": 4, "seed": 3, "checkpointing": True}
        task = Toy(dropout=0.3, norm=True)
        return _fit(out, task, train, training=settings, evaluate=_evaluate, best_by="top1", **more)

    def interrupt(epoch, number):
        if (epoch, number) == stopped_at:
            os.kill(os.getpid(), signal.SIGTERM)

    whole = run(tmp_path / "whole", Toys(2))
    train = Toys(2)
    train.before_batch = interrupt
    with pytest.raises(KeyboardInterrupt, match="saved in"):
        run(tmp_path / "parts", train)
    torch.manual_seed(123)
    resumed = run(tmp_path / "parts", Toys(2), resume=True)
    assert _without_speed(resumed.history) == _without_speed(whole.history)
    assert (resumed.metrics, _without_speed([resumed.best])) == (whole.metrics, _without_speed([whole.best]))
    _assert_equal_states(resumed.task.state_dict(), whole.task.state_dict())
    last = [
        load_file(checkpoint.latest(tmp_path / n / "checkpoints") / "state.safetensors") for n in ("parts", "whole")
    ]
    _assert_equal_states(*last)
    assert any(name.startswith("ema/") for name in last[0])


def test_a_finished_run_can_be_resumed_to_its_result(tmp_path):
    first = _fit(tmp_path, evaluate=_evaluate, best_by="top1")
    again = _fit(tmp_path, evaluate=_evaluate, best_by="top1", resume=True)
    assert again[:3] == first[:3]
    _assert_equal_states(again.task.state_dict(), first.task.state_dict())


def test_a_resumed_run_can_be_made_longer(tmp_path):
    _fit(tmp_path, schedule={"epochs": 1})
    result = _fit(tmp_path, schedule={"epochs": 2}, resume=True)
    assert [line["step"] for line in result.history] == [6, 12]


def test_resuming_falls_back_to_the_checkpoint_before_a_damaged_one(tmp_path):
    whole = _fit(tmp_path)
    newest = checkpoint.latest(tmp_path / "checkpoints")
    (newest / "state.safetensors").write_bytes(b"")
    again = _fit(tmp_path, resume=True)
    _assert_equal_states(again.task.state_dict(), whole.task.state_dict())
    assert checkpoint.damage(newest) == ""


def test_the_average_is_evaluated_exported_and_returned(tmp_path):
    seen = []

    def export(task, folder):
        save_file(task.state_dict(), folder / "model.safetensors")

    def look(task):
        seen.append({name: tensor.clone() for name, tensor in task.state_dict().items()})
        assert not task.training
        return {"top1": 0.5}

    result = _fit(tmp_path, training={"ema": 0.99}, evaluate=look, on_save=export)
    newest = checkpoint.latest(tmp_path / "checkpoints")
    saved = load_file(newest / "state.safetensors")
    for name, tensor in result.task.state_dict().items():
        assert torch.equal(tensor, seen[-1][name])
        assert torch.equal(tensor, saved[f"ema/{name}"])
        assert torch.equal(tensor, load_file(newest / "model.safetensors")[name])
    assert not torch.equal(saved["model/head.weight"], saved["ema/head.weight"])
    assert all(p.requires_grad for p in result.task.parameters())


@pytest.mark.parametrize("failing", [1, 3])
def test_an_evaluation_that_fails_is_made_up_for_on_resuming(tmp_path, failing):
    calls = []

    def evaluate(task):
        calls.append(1)
        if len(calls) == failing:
            raise UserError("no picture")
        return _evaluate(task)

    whole = _fit(tmp_path / "whole", evaluate=_evaluate, best_by="top1")
    with pytest.raises(UserError, match="no picture"):
        _fit(tmp_path / "parts", evaluate=evaluate, best_by="top1")
    parts = _fit(tmp_path / "parts", evaluate=evaluate, best_by="top1", resume=True)
    assert _without_speed(parts.history) == _without_speed(whole.history)
    assert (parts.metrics, _without_speed([parts.best])) == (whole.metrics, _without_speed([whole.best]))


@pytest.mark.parametrize(("higher_is_better", "best_epoch"), [(True, 2), (False, 3)])
def test_the_best_evaluation_is_kept(tmp_path, higher_is_better, best_epoch):
    scores = iter([0.4, 0.7, 0.2, 0.5])
    result = _fit(
        tmp_path,
        evaluate=lambda task: {"score": next(scores)},
        best_by="score",
        higher_is_better=higher_is_better,
        schedule={"epochs": 4},
        training={"keep_last": 1, "save_every": 0},
    )
    assert result.best["epoch"] == best_epoch
    assert result.metrics == {"score": 0.5}
    assert checkpoint.load(tmp_path / "checkpoints" / "best")[1]["update"] == 6 * best_epoch
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["best", "step_00000024"]


def test_evaluations_and_checkpoints_come_as_often_as_wanted(tmp_path):
    training = {"eval_every": 2, "save_every": 3, "keep_last": 9, "log_every": 4}
    result = _fit(tmp_path, evaluate=_evaluate, schedule={"epochs": 5}, training=training)
    assert [line["epoch"] for line in result.history if line["split"] == "val"] == [2, 4, 5]
    assert [p.name for p in sorted((tmp_path / "checkpoints").iterdir())] == ["step_00000018", "step_00000030"]
    steps = [line["step"] for line in result.history if line["split"] == "train"]
    assert steps == [4, 6, 8, 12, 16, 18, 20, 24, 28, 30]


def test_checkpoints_come_in_the_middle_of_an_epoch_where_wanted(tmp_path):
    _fit(tmp_path, training={"save_steps": 4, "save_every": 0, "keep_last": 9})
    saved = [int(path.name[-2:]) for path in sorted((tmp_path / "checkpoints").iterdir())]
    assert saved == [4, 8, 12, 16, 18]


def test_recomputing_activations_changes_no_number(tmp_path):
    """So a run that is out of memory may be resumed with it."""
    plain, less = (
        _fit(tmp_path / str(on), Toy(dropout=0.3), training={"checkpointing": on}).task.state_dict()
        for on in (False, True)
    )
    _assert_equal_states(plain, less)


@pytest.mark.parametrize("moment", ["before the evaluation", "in the evaluation"])
def test_a_signal_breaks_an_evaluation_off_at_once_and_it_is_made_up_for(tmp_path, moment):
    def evaluate(task):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(100):
            pass
        raise AssertionError("the evaluation went on")

    train = Toys()
    if moment == "before the evaluation":
        train.before_batch = lambda epoch, number: (epoch, number) == (0, 5) and os.kill(os.getpid(), signal.SIGTERM)
    whole = _fit(tmp_path / "whole", evaluate=_evaluate, best_by="top1")
    with pytest.raises(KeyboardInterrupt, match="interrupted after step 6, saved in"):
        _fit(tmp_path / "parts", train=train, evaluate=evaluate, best_by="top1")
    parts = _fit(tmp_path / "parts", evaluate=_evaluate, best_by="top1", resume=True)
    assert _without_speed(parts.history) == _without_speed(whole.history)
    assert _without_speed([parts.best]) == _without_speed([whole.best])


def test_a_best_that_a_crash_left_unmarked_is_marked_on_resuming(tmp_path, monkeypatch):
    scores = {"evaluate": lambda task: {"score": 1.0}, "best_by": "score"}
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "mark_best", lambda folder: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            _fit(tmp_path, **scores)
    assert not (tmp_path / "checkpoints" / "best").exists()
    _fit(tmp_path, **scores, resume=True)
    assert checkpoint.read_manifest(tmp_path / "checkpoints" / "best")["step"] == 6


def test_a_checkpoint_of_another_recipe_is_not_resumed(tmp_path):
    _fit(tmp_path, recipe="one")
    with pytest.raises(UserError, match=r"made by another recipe \(hash one, not two\)"):
        _fit(tmp_path, recipe="two", resume=True)


class Greedy(Toy):
    """Runs out of memory, as torch says it on the CPU or on CUDA, or Python or the system says it."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def losses(self, batch):
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_running_out_of_memory_says_what_took_it_and_what_to_change(tmp_path, error):
    with pytest.raises(RunError, match="out of memory on cpu while training, after step 0") as stop:
        _fit(tmp_path, Greedy(error), training={"ema": 0.5})
    for words in ("parameters 0.0 MiB", "gradients", "optimizer", "EMA", "activations of 4 x 6", "--accumulate 2"):
        assert words in str(stop.value)
    assert "--checkpointing" in str(stop.value)


def test_running_out_of_memory_in_an_evaluation_speaks_of_its_batch(tmp_path):
    def evaluate(task):
        raise MemoryError

    with pytest.raises(RunError, match=r"while evaluating, after step 6: .*to need less: a smaller --val-batch-size"):
        _fit(tmp_path, evaluate=evaluate)


def test_other_errors_are_not_taken_for_a_lack_of_memory(tmp_path):
    with pytest.raises(RuntimeError, match="of ours"):
        _fit(tmp_path, Greedy(RuntimeError("a fault of ours")))


def test_two_runs_with_one_seed_are_equal_and_with_two_are_not(tmp_path):
    states = []
    for number, seed in enumerate((1, 1, 2)):
        torch.manual_seed(number)
        task = Toy(dropout=0.5)
        states.append(_fit(tmp_path / str(number), task, training={"seed": seed}).task.state_dict())
    _assert_equal_states(states[0], states[1])
    assert not torch.equal(states[0]["head.weight"], states[2]["head.weight"])


def test_the_callers_random_numbers_and_threads_are_left_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    task, threads = Toy(dropout=0.5), torch.get_num_threads()
    torch.manual_seed(5)
    _fit(tmp_path, task, training={"threads": threads + 1})
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_bf16_trains_fp32_weights(tmp_path):
    result = _fit(tmp_path, training={"precision": "bf16"})
    assert {t.dtype for t in result.task.state_dict().values()} == {torch.float32}
    assert result.history[-1]["loss"] != _fit(tmp_path / "fp32").history[-1]["loss"]


class Broken(Toy):
    """Gives a NaN in its second block, or only in the loss, or only in a gradient, when rows of `when` come."""

    def __init__(self, where, when=13):
        super().__init__()
        self.where, self.when = where, when
        self.blocks[1].register_forward_hook(self._spoil)

    def _spoil(self, module, inputs, output):
        return output * float("nan") if self.where == "layer" and self.hit else output

    def losses(self, batch):
        self.hit = f"row{self.when}.png" in batch["name"]
        losses = super().losses(batch)
        if self.hit and self.where == "loss":
            losses = {"cross_entropy": losses["cross_entropy"] * float("inf")}
        if self.where == "gradient":  # the root of 0 is 0, its slope is not finite
            losses["root"] = ((self.blocks[0][0].weight * 0).sum() + (0 if self.hit else 1)).sqrt()
        return losses


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("layer", r"cross_entropy nan\); first layer with a non-finite output: blocks\.1 \(depth 1 of 2\)"),
        ("loss", r"cross_entropy inf\); the output of every layer is finite, so it is the loss itself"),
        ("gradient", r"the loss is finite; .*going backward from the loss: blocks\.0\.0\.weight \(1 in all\)"),
    ],
)
def test_a_run_that_is_no_longer_finite_says_where_and_leaves_the_weights(tmp_path, where, says, accumulate):
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0)).tolist()
    step = order.index(13) // 4 + 1
    task = Broken(where)
    with pytest.raises(
        RunError, match=rf"stopped at step {step} \(epoch 1\): .*{says}.*; files: row\d+\.png, "
    ) as stop:
        _fit(tmp_path, task, training={"accumulate": accumulate, "checkpointing": True})
    assert "row13.png" in str(stop.value)
    assert all(torch.isfinite(p).all() for p in task.parameters())


ROWS = (13, 4)  # of two updates of each epoch


class BrokenTwice(Toy):
    """Gives an infinite loss when either of two rows comes; its batch norm then meets a NaN."""

    def losses(self, batch):
        hit = any(f"row{row}.png" in batch["name"] for row in ROWS)
        losses = super().losses({**batch, "image": batch["image"] * float("nan")} if hit else batch)
        return {name: loss * (float("inf") if hit else 1) for name, loss in losses.items()}


def _hit_steps(epochs=3):
    """Steps, from 1, of the updates in which one of ROWS is."""
    orders = [torch.randperm(24, generator=torch.Generator().manual_seed(epoch)).tolist() for epoch in range(epochs)]
    return sorted({6 * e + order.index(row) // 4 + 1 for e, order in enumerate(orders) for row in ROWS})


def test_updates_that_are_not_finite_are_skipped_and_counted(tmp_path, capsys):
    hit = _hit_steps()
    training = {"skip_nonfinite": len(hit), "log_every": 1, "save_steps": 1, "ema": 0.9, "keep_last": 99}
    result = _fit(tmp_path, BrokenTwice(norm=True), training=training)
    lines = [line for line in result.history if line["split"] == "train"]
    assert sorted({*range(1, 19)} - {line["step"] for line in lines}) == hit
    assert lines[-1]["skipped"] == len(hit)
    assert "skipped" not in lines[0]
    assert all(torch.isfinite(tensor).all() for tensor in result.task.state_dict().values())
    said = capsys.readouterr().out
    assert all(f"step {step} skipped: loss nan, gradient norm nan ({n} of at most {len(hit)})" in said
               for n, step in enumerate(hit, 1))  # fmt: skip
    states = [load_file(path / "state.safetensors") for path in sorted((tmp_path / "checkpoints").glob("step_*"))]
    for step in hit[1:]:
        _assert_equal_states(states[step - 1], states[step - 2])
    assert not torch.equal(states[-1]["model/head.weight"], states[hit[-1] - 2]["model/head.weight"])


@pytest.mark.parametrize("stop", [2, 9])
def test_skipping_goes_on_alike_after_a_resume_and_ends_after_as_many(tmp_path, stop):
    hit = _hit_steps()
    training = {"skip_nonfinite": len(hit) - 1, "log_every": 1}
    says = rf"stopped at step {hit[-1]} \(epoch 3\): loss is not finite"
    with pytest.raises(RunError, match=says):
        _fit(tmp_path / "whole", BrokenTwice(), training=training)
    train = Toys()
    train.before_batch = lambda epoch, number: 6 * epoch + number == stop and os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        _fit(tmp_path / "parts", BrokenTwice(), train, training=training)
    with pytest.raises(RunError, match=says):
        _fit(tmp_path / "parts", BrokenTwice(), training=training, resume=True)
    whole, parts = ((tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("whole", "parts"))
    assert _without_speed(map(json.loads, parts)) == _without_speed(map(json.loads, whole))


def test_a_batch_that_is_not_finite_is_blamed_itself(tmp_path):
    train = Toys()
    train.rows[3, 2] = float("nan")
    with pytest.raises(RunError, match="the batch's 'image' is not finite before any layer"):
        _fit(tmp_path, train=train)


def test_nothing_is_written_where_checkpoints_are(tmp_path):
    _fit(tmp_path)
    with pytest.raises(UserError, match="holds checkpoints already"):
        _fit(tmp_path)


def test_resuming_without_a_checkpoint_is_refused_and_leaves_no_folder(tmp_path):
    with pytest.raises(UserError, match="nothing to resume"):
        _fit(tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"training": {"ema": 0.9}}, "without an EMA"),
        ({"training": {"batch_size": 8}}, "6 updates an epoch and this run has 3"),
        ({"task": Toy(norm=True)}, "holds another model"),
    ],
)
def test_resuming_another_run_is_refused(tmp_path, changes, says):
    _fit(tmp_path)
    with pytest.raises(UserError, match=says):
        _fit(tmp_path, resume=True, **changes)


def test_a_metric_that_is_not_there_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(UserError, match="unknown metric 'top_1': did you mean top1"):
        _fit(tmp_path, evaluate=_evaluate, best_by="top_1")


def test_too_little_data_is_refused(tmp_path):
    with pytest.raises(UserError, match="too few for one update of 32 micro-steps"):
        _fit(tmp_path, Toy(), Toys(1), training={"batch_size": 32, "accumulate": 32})


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(UserError, match="use a multiple of 6"):
        Training(batch_size=16, accumulate=3).micro_batch(world=2)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """Folder of what two processes did (`_jobs`), and what each of them said."""
    out = tmp_path_factory.mktemp("two")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(
            [sys.executable, __file__, str(out)],
            env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=120)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], "".join(said)
    return out, said


def _jobs(out):
    """What each of two processes does: this file's main part, when it is run as a script."""
    from muntin.engine import parallel

    parallel.setup("cpu")
    rank = parallel.rank()
    for job in ("plain", "broken", "interrupted", "skipping"):
        train, task = Toys(2, rank, 2), Toy()
        if rank == 1:
            nn.init.zeros_(task.head.weight)  # fit gives every process the weights of process 0
            if job in ("broken", "skipping"):
                task = Broken("loss", when=23)
            if job == "interrupted":
                train.before_batch = lambda epoch, number: number == 1 and os.kill(os.getpid(), signal.SIGTERM)
        try:
            result = _fit(out / job, task, train, training=SHARED | {"skip_nonfinite": 9 if job == "skipping" else 0})
            save_file(result.task.state_dict(), out / f"{job}_{rank}.safetensors")
        except (RunError, KeyboardInterrupt) as stop:
            print(f"{job}: {type(stop).__name__}: {stop}", flush=True)
    parallel.cleanup()


def test_two_processes_equal_one(two_processes, tmp_path):
    out, _ = two_processes
    one = _fit(tmp_path, training=SHARED)
    two = [json.loads(line) for line in (out / "plain" / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one.history], rel=1e-6)
    assert [line["grad_norm"] for line in two] == pytest.approx([line["grad_norm"] for line in one.history], rel=1e-5)
    weights = [load_file(out / f"plain_{rank}.safetensors") for rank in range(2)]
    _assert_equal_states(*weights)
    for name, tensor in one.task.state_dict().items():
        # a batch is summed in another order, and AdamW divides by the root of tiny squares
        torch.testing.assert_close(weights[0][name], tensor, rtol=1e-5, atol=2e-6)


def test_a_run_of_two_processes_can_be_resumed_by_one(two_processes):
    out, _ = two_processes
    resumed = _fit(out / "plain", training=SHARED, resume=True)
    _assert_equal_states(resumed.task.state_dict(), load_file(out / "plain_0.safetensors"))


def test_all_processes_stop_when_one_loses_its_loss(two_processes):
    _, said = two_processes
    assert "broken: RunError: stopped at step" in said[0]
    assert "not finite on process 1" in said[0]
    assert "it is the loss itself" in said[1]
    assert "row23.png" in said[1]


def test_all_processes_skip_an_update_when_one_loses_its_loss(two_processes):
    out, _ = two_processes
    weights = [load_file(out / f"skipping_{rank}.safetensors") for rank in range(2)]
    _assert_equal_states(*weights)
    assert all(torch.isfinite(tensor).all() for tensor in weights[0].values())
    _, numbers = checkpoint.load(checkpoint.latest(out / "skipping" / "checkpoints"))
    orders = [torch.randperm(24, generator=torch.Generator().manual_seed(epoch)).tolist() for epoch in range(3)]
    assert numbers["skipped"] == sum(order.index(23) % 4 > 1 for order in orders) > 0  # of four, process 1 takes two


def test_all_processes_stop_at_one_step_when_one_is_asked_to(two_processes):
    out, said = two_processes
    for words in said:
        assert "interrupted: KeyboardInterrupt: interrupted after step 1" in words
    assert checkpoint.latest(out / "interrupted" / "checkpoints").name == "step_00000001"


if __name__ == "__main__":
    _jobs(Path(sys.argv[1]))
