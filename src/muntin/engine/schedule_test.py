import json
import math
import os
from pathlib import Path

import pytest

from muntin.engine.schedule import Schedule
from muntin.errors import UserError

CURVES = {
    "cosine": {"kind": "cosine"},
    "cosine_noprefix": {"kind": "cosine", "warmup_prefix": False},
    "linear": {"kind": "linear"},
    "step": {"kind": "step"},
    "multistep": {"kind": "multistep"},
}


def _recorded():
    folder = Path(os.environ.get("MUNTIN_REFERENCE") or Path(__file__).parents[4] / "shared" / "reference")
    file = folder / "swin_v1" / "train_recipe.safetensors"
    if not file.is_file():
        pytest.skip(f"needs {file.name} of the reference vectors; set MUNTIN_REFERENCE to their folder")
    from safetensors import safe_open

    with safe_open(file, "pt") as vectors:
        return json.loads(vectors.metadata()["config"]), {name: vectors.get_tensor(name) for name in vectors.keys()}  # noqa: SIM118


@pytest.mark.reference
@pytest.mark.parametrize("curve", CURVES)
def test_every_update_has_the_official_learning_rate(curve):
    config, vectors = _recorded()
    schedule = Schedule(
        epochs=config["epochs"],
        warmup_epochs=config["warmup_epochs"],
        warmup_lr=config["warmup_lr"],
        min_lr=config["min_lr"],
        decay_epochs=config["decay_epochs"],
        decay_rate=config["gamma" if curve == "multistep" else "decay_rate"],
        milestones=tuple(config["multisteps"]),
        **CURVES[curve],
    )
    rows = vectors[f"output/lr_{curve}"].tolist()
    assert len(rows) == config["epochs"] * config["iters_per_epoch"]
    for update, row in enumerate(rows):
        peaks = [config["base_lr"] * scale for scale in config["lr_scales"]]
        ours = [schedule.lr(update, peak, config["iters_per_epoch"]) for peak in peaks]
        assert ours == pytest.approx(row, rel=1e-12, abs=0)


def _rates(schedule, peak, updates_per_epoch):
    return [schedule.lr(update, peak, updates_per_epoch) for update in range(schedule.epochs * updates_per_epoch)]


def _cosine(t, warmup, total, peak, start, end):
    """timm's cosine per epoch; its clock is not shifted by the warm-up (specs/deit.md, section 4)."""
    if t < warmup:
        return start + t * (peak - start) / warmup
    return end + 0.5 * (peak - end) * (1 + math.cos(math.pi * t / total))


@pytest.mark.parametrize(
    ("clock", "times"),
    [("epoch", range(30)), ("late_epoch", [0, *range(29)])],  # CvT; DeiT: epochs 0 and 1 both run at t = 0
)
def test_clocks_of_epochs_are_cvts_and_deits(clock, times):
    schedule = Schedule(clock=clock, epochs=30, warmup_epochs=5, warmup_lr=1e-6, min_lr=1e-5, warmup_prefix=False)
    expected = [_cosine(t, 5, 30, 1e-3, 1e-6, 1e-5) for t in times for _ in range(4)]
    assert _rates(schedule, 1e-3, 4) == pytest.approx(expected, rel=1e-12, abs=0)


@pytest.mark.parametrize(("kind", "min_lr"), [("cosine", 0.0), ("linear_to_min", 1e-5)])
def test_the_clock_of_updates_is_vits(kind, min_lr):
    schedule = Schedule(kind=kind, clock="update", epochs=4, warmup_epochs=1.5, warmup_lr=0, min_lr=min_lr)
    warm, total, base = 15, 40, 3e-3
    for step, rate in enumerate(_rates(schedule, base, 10)):
        progress = min(max((step - warm) / (total - warm), 0), 1)
        curve = (
            base * 0.5 * (1 + math.cos(math.pi * progress))
            if kind == "cosine"
            else 1e-5 + (base - 1e-5) * (1 - progress)
        )
        assert rate == pytest.approx(curve * min(1, step / warm), rel=1e-12, abs=0)


def test_an_inclusive_warm_up_ends_at_the_peak():
    schedule = Schedule(clock="inclusive_update", epochs=2, warmup_epochs=1, warmup_lr=0, min_lr=0)
    assert [schedule.lr(update, 3.0, 4) for update in range(5)] == [0.0, 1.0, 2.0, 3.0, 3.0]
    assert schedule.lr(0, 3.0, 1) == 0.0


def test_layer_decay_scales_the_whole_curve_on_convnexts_clock_and_the_peak_alone_on_others():
    def rates(clock):
        schedule = Schedule(clock=clock, epochs=2, warmup_epochs=0, min_lr=1e-6)
        return [schedule.lr(update, 5e-5, 4, scale=0.01) for update in range(8)], _rates(schedule, 5e-5, 4)

    layer, head = rates("inclusive_update")
    assert layer == pytest.approx([0.01 * rate for rate in head])
    layer, _ = rates("update")
    assert layer[0] == pytest.approx(5e-7)
    assert layer == sorted(layer)  # to min_lr


def test_scaling_touches_the_absolute_rates_alone():
    schedule = Schedule(warmup_lr=1e-6, min_lr=1e-5).scaled(2.0)
    assert (schedule.warmup_lr, schedule.min_lr) == (2e-6, 2e-5)
    assert schedule == Schedule(warmup_lr=2e-6, min_lr=2e-5)


def test_without_warm_up_the_first_updates_run_at_the_peak():
    schedule = Schedule(epochs=2, warmup_epochs=0, min_lr=0)
    assert [schedule.lr(u, 1.0, 4) for u in (0, 1)] == [1.0, 1.0]
    assert schedule.lr(2, 1.0, 4) < 1.0


def test_a_run_that_is_all_warm_up_never_divides_by_zero():
    schedule = Schedule(epochs=1, warmup_epochs=1, warmup_lr=0, min_lr=0.5)
    assert [schedule.lr(u, 4.0, 4) for u in range(6)] == [0.0, 0.0, 1.0, 2.0, 3.0, 0.5]


def test_a_fraction_of_an_epoch_can_be_warm_up():
    schedule = Schedule(epochs=2, warmup_epochs=0.5, warmup_lr=0)
    assert [schedule.lr(u, 1.0, 4) for u in (1, 2, 3)] == [0.0, 0.5, 1.0]


def _mmcv(t, base, total, warmup, ratio, power, end):
    """One group's rate at iteration t as mmcv's hook computes it: the curve of all iterations, then the warm-up."""
    regular = (base - end) * (1 - t / total) ** power + end
    if t >= warmup:
        return regular
    k = (1 - t / warmup) * (1 - ratio)
    return regular * (1 - k)


@pytest.mark.parametrize(("power", "end"), [(1.0, 0.0), (0.9, 1e-6), (2.0, 1e-5)])
@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_poly_is_mmcvs(power, end, scale):
    base, ratio = 6e-5, 1e-6
    schedule = Schedule(
        kind="poly",
        clock="update",
        epochs=0,
        updates=160,
        warmup_epochs=0,
        warmup_updates=15,
        warmup_lr=ratio * base,
        min_lr=end,
        power=power,
    )
    ours = [schedule.lr(update, base, 7, scale) for update in range(160)]
    expected = [_mmcv(t, base * scale, 160, 15, ratio, power, end) for t in range(160)]
    assert ours == pytest.approx(expected, rel=1e-12, abs=0)


@pytest.mark.parametrize("clock", ["late_update", "update", "inclusive_update"])
@pytest.mark.parametrize("kind", ["cosine", "linear", "linear_to_min", "poly"])
def test_a_length_in_updates_is_that_in_epochs(kind, clock):
    shared = {"kind": kind, "clock": clock, "warmup_lr": 1e-6, "min_lr": 1e-5}
    in_epochs = Schedule(epochs=8, warmup_epochs=1.5, **shared)
    in_updates = Schedule(epochs=0, updates=80, warmup_epochs=0, warmup_updates=15, **shared)
    assert [in_updates.lr(u, 1e-3, 10) for u in range(80)] == [in_epochs.lr(u, 1e-3, 10) for u in range(80)]
    assert in_updates.length(10) == in_epochs.length(10) == 80
    # and with another number of updates an epoch it is the same curve
    assert [in_updates.lr(u, 1e-3, 7) for u in range(80)] == [in_updates.lr(u, 1e-3, 10) for u in range(80)]


def test_warm_up_in_updates_goes_with_decays_at_epochs():
    schedule = Schedule(
        kind="multistep", clock="update", epochs=4, warmup_epochs=0, warmup_updates=5, warmup_lr=0, milestones=(2, 3)
    )
    rates = [schedule.lr(update, 1.0, 10) for update in range(40)]
    assert rates == pytest.approx([0, 0.2, 0.4, 0.6, 0.8] + [1.0] * 15 + [0.1] * 10 + [0.01] * 10)


def test_a_warm_up_that_is_longer_than_the_run_is_refused():
    with pytest.raises(UserError, match=r"the warm-up takes 60 updates and the whole run 50 \(20 an epoch\)"):
        Schedule(epochs=0, updates=50, warmup_epochs=3).length(20)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"updates": 5}, "epochs is 300 and updates is 5; give one of them, the other as 0"),
        ({"warmup_updates": 5}, "warmup_epochs is 20 and warmup_updates is 5; give one of them, the other as 0"),
        ({"epochs": 0, "updates": 5, "clock": "epoch"}, "updates is 5, and the clock 'epoch' counts epochs"),
        ({"warmup_epochs": 0, "warmup_updates": 5, "clock": "late_epoch"}, "warmup_updates is 5, and the clock"),
        ({"epochs": 0, "updates": 5, "kind": "step"}, "updates is 5, and 'step' decays the rate at epochs"),
    ],
)
def test_lengths_in_two_units_are_refused(values, says):
    with pytest.raises(UserError, match=says):
        Schedule(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 0},
        {"epochs": 0, "updates": -1},
        {"epochs": 0, "updates": 5, "warmup_epochs": 0, "warmup_updates": 6},
        {"warmup_epochs": 0, "warmup_updates": -1},
        {"power": 0.0},
        {"epochs": 2, "warmup_epochs": 3},
        {"warmup_epochs": float("nan")},
        {"warmup_lr": -1e-6},
        {"min_lr": float("nan")},
        {"decay_rate": -0.1},
        {"decay_rate": float("inf")},
        {"kind": "cosin"},
        {"clock": "step"},
        {"kind": "step", "decay_epochs": 0},
        {"kind": "multistep"},
        {"kind": "multistep", "milestones": (50, 40)},
        {"kind": "multistep", "milestones": (10,), "warmup_epochs": 20},
    ],
)
def test_impossible_schedules_are_refused(values):
    with pytest.raises(UserError, match=f"^({'|'.join([*values, 'milestones'])}) is .*; "):
        Schedule(**values)
